/*
 * What judging an answer costs: a chat answer of 1.5 KB, whole and streamed, and the same of 64 KB, the most
 * that is judged on a loop. CPU time of this thread, the best of some rounds. Run:
 * ninja -C build tests/bench/bench_gate && build/tests/bench/bench_gate
 */
#include <stdint.h>
#include <stdio.h>

#include "measure.h"
#include "refrain/base/buf.h"
#include "refrain/policy/gate.h"
#include "refrain/wire/jscan.h"
#include "refrain/wire/sse.h"

enum { STREAM_TOKEN = 5 };

struct work {
    struct buf whole, stream;
    struct fields json, sse;
    struct header_table *table;
    unsigned sink; /* keeps the work from being optimised away */
};

static void judge(struct work *w, const struct tally *t, bool streamed, bool whole)
{
    struct gate_conf conf = {.object_bytes_max = 16 << 20, .headers = w->table};
    struct tally_result sum;
    struct gate_answer a = {.op = OP_CHAT,
                            .streamed = streamed,
                            .whole = whole,
                            .status = 200,
                            .fields = streamed ? &w->sse : &w->json,
                            .tally = &sum};

    tally_result(t, &sum);
    must(gate_judge(&a, &conf) == GATE_STORE && gate_finish_ttl_s(&a, &conf) == -1);
    w->sink += (unsigned)sum.tokens_out;
}

static void judge_whole(struct work *w)
{
    struct tally t;

    tally_init(&t, dialect_of(OP_CHAT), false);
    tally_whole(&t, buf_slice(&w->whole));
    judge(w, &t, false, true);
    tally_done(&t);
}

static void judge_stream(struct work *w)
{
    struct stream_judge j;

    stream_judge_init(&j, dialect_of(OP_CHAT), STREAM_SSE, false);
    stream_judge_feed(&j, buf_slice(&w->stream));
    judge(w, &j.tally, true, stream_judge_whole(&j));
    stream_judge_done(&j);
}

static void parse_only(struct work *w)
{
    must(jscan_valid(buf_slice(&w->whole)));
    w->sink++;
}

static void fill(struct work *w, size_t text_bytes)
{
    static const char text[] = "Caching answers saves money, time and patience; ";

    buf_clear(&w->whole);
    buf_clear(&w->stream);
    must(buf_addf(&w->whole,
                  "{\"id\":\"chatcmpl-9x\",\"object\":\"chat.completion\",\"created\":1751360400,\"model\":"
                  "\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                  "\"content\":\"") == 0);
    for (size_t i = 0; i < text_bytes; i++)
        must(buf_addf(&w->whole, "%c", text[i % (sizeof(text) - 1)]) == 0);
    must(buf_addf(&w->whole,
                  "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                  "\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":260,\"total_tokens\":279,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
                  "\"completion_tokens_details\":{\"reasoning_tokens\":0}},\"service_tier\":\"default\","
                  "\"system_fingerprint\":\"fp_0a1b2c\"}") == 0);
    for (size_t i = 0; i < text_bytes; i += STREAM_TOKEN)
        must(buf_addf(
                 &w->stream,
                 "data: {\"id\":\"chatcmpl-9x\",\"object\":\"chat.completion.chunk\",\"created\":1751360400,"
                 "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
                 "\"%.5s\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
                 text + i % 40) == 0);
    must(buf_addf(&w->stream,
                  "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                  "data: [DONE]\n\n") == 0);
}

static void report(const char *what, size_t bytes, double ns)
{
    printf("%-32s %8zu bytes %10.0f ns %7.2f ns a byte\n", what, bytes, ns, ns / (double)bytes);
}

int main(void)
{
    static const size_t sizes[] = {1000, 64000};
    struct work w = {.whole = BUF_INIT(1 << 20), .stream = BUF_INIT(16 << 20)};

    w.table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    must(w.table && fields_add(&w.json, SLICE_OF("Content-Type"), SLICE_OF("application/json")) == 0 &&
         fields_add(&w.sse, SLICE_OF("Content-Type"), SLICE_OF("text/event-stream")) == 0);
    fields_classify_response(&w.json, w.table);
    fields_classify_response(&w.sse, w.table);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        fill(&w, sizes[i]);
        report("is it JSON at all", w.whole.len, measure(&w, parse_only));
        report("a whole answer judged", w.whole.len, measure(&w, judge_whole));
        report("a stream judged", w.stream.len, measure(&w, judge_stream));
    }
    header_table_free(w.table);
    buf_done(&w.whole);
    buf_done(&w.stream);
    return w.sink == 0;
}
