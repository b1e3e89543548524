/*
 * What a key costs: canonical JSON beside jansson doing the same (load, sorted dump), each with the SHA-256
 * of its outcome; the whole key; and the memo that saves all of it. CPU time of this thread, the best of some
 * rounds. Run: ninja -C build tests/bench/bench_canon && build/tests/bench/bench_canon
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "measure.h"
#include "refrain/http/memo.h"
#include "refrain/policy/key.h"
#include "refrain/wire/dialect.h"

enum { BODY_MAX = 64 << 20 };

struct work {
    struct slice body;
    struct fields fields;
    struct sha256 *sha256;
    struct key_maker *keys;
    struct memo_hasher *hasher;
    struct memo *memo;
    struct gmac_tag *tags;
    size_t tags_n, next;
    struct buf out;
    uint64_t sink; /* keeps the work from being optimised away */
};

static void hash(struct work *w, struct slice bytes)
{
    sha256_begin(w->sha256);
    sha256_add(w->sha256, bytes);
    w->sink += sha256_end(w->sha256).bytes[0];
}

static void by_canon(struct work *w)
{
    struct canon_facts facts;

    buf_clear(&w->out);
    must(canon_json(w->body, &dialect_of(OP_CHAT)->canon, &w->out, &facts, NULL) == CANON_OK);
    hash(w, buf_slice(&w->out));
}

static void by_jansson(struct work *w)
{
    json_t *value = json_loadb(w->body.data, w->body.len, JSON_REJECT_DUPLICATES, NULL);
    char *text = json_dumps(value, JSON_SORT_KEYS | JSON_COMPACT);

    must(text != NULL);
    hash(w, slice_str(text));
    free(text);
    json_decref(value);
}

static void whole_key(struct work *w)
{
    static const struct key_scope scope = {.mode = KEY_SCOPE_CREDENTIAL, .secret = SLICE("secret")};
    struct canon_facts facts;
    struct key_request r = {
        .scope = &scope,
        .namespace_ = SLICE("default"),
        .upstream = SLICE("openai"),
        .operation = SLICE("chat"),
        .method = SLICE("POST"),
        .target = SLICE("/v1/chat/completions"),
        .fields = &w->fields,
        .body_kind = KEY_BODY_CANONICAL,
    };

    buf_clear(&w->out);
    must(canon_json(w->body, &dialect_of(OP_CHAT)->canon, &w->out, &facts, NULL) == CANON_OK);
    r.body = buf_slice(&w->out);
    w->sink += key_make(w->keys, &r).bytes[0];
}

static void memo_tag(struct work *w)
{
    static const struct key_scope scope = {.mode = KEY_SCOPE_CREDENTIAL};

    memo_hash_begin(w->hasher);
    memo_hash_add(w->hasher, SLICE_OF("POST"));
    memo_hash_add(w->hasher, SLICE_OF("/v1/chat/completions"));
    memo_hash_add_fields(w->hasher, &w->fields, &scope);
    memo_hash_add(w->hasher, w->body);
    w->sink += memo_hash_end(w->hasher).half[0];
}

static void memo_look_up(struct work *w)
{
    w->next = (w->next + 7919) % w->tags_n;
    w->sink += memo_get(w->memo, &w->tags[w->next]) != NULL;
}

/* ---- bodies ---- */

static void begin(struct buf *b)
{
    must(buf_addf(
             b,
             "{\"model\":\"gpt-4o-mini\",\"temperature\":0.7,\"messages\":[{\"role\":\"system\",\"content\":"
             "\"You are a helpful assistant.\\nAnswer in \\\"short\\\" sentences.\"}") == 0);
}

static void add_message(struct buf *b)
{
    must(buf_addf(
             b, ",{\"role\":\"user\",\"content\":\"Please summarise the following text about caches:\\nLorem "
                "ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut "
                "labore et "
                "dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation.\"}") == 0);
}

static void finish(struct buf *b)
{
    must(buf_addf(b, "],\"max_tokens\":1000,\"user\":\"somebody\"}") == 0);
}

static void chat_of(struct buf *b, size_t bytes)
{
    begin(b);
    while (b->len < bytes - 60)
        add_message(b);
    finish(b);
}

static void chat_1k(struct buf *b)
{
    chat_of(b, 1024);
}

static void chat_16k(struct buf *b)
{
    chat_of(b, 16384);
}

static void chat_100k(struct buf *b)
{
    chat_of(b, 102400);
}

static void chat_spaced(struct buf *b)
{
    AUTO(buf_done) struct buf plain = BUF_INIT(BODY_MAX);
    json_t *value;
    char *text;

    chat_of(&plain, 16384);
    value = json_loadb(plain.data, plain.len, 0, NULL);
    text = json_dumps(value, JSON_INDENT(2));
    must(text && buf_add_slice(b, slice_str(text)) == 0);
    free(text);
    json_decref(value);
}

static void chat_escaped(struct buf *b)
{
    begin(b);
    while (b->len < 16384)
        must(buf_addf(b, ",{\"role\":\"user\",\"content\":\"\\u65e5\\u672c\\u8a9e\\u306e \\ud83d\\ude00 "
                         "caf\\u00e9\"}") == 0);
    finish(b);
}

static void chat_utf8(struct buf *b)
{
    begin(b);
    while (b->len < 16384)
        must(buf_addf(b, ",{\"role\":\"user\",\"content\":"
                         "\"日本語の文章をここに書きます。これは長い文章です。 café\"}") == 0);
    finish(b);
}

static void chat_tools(struct buf *b)
{
    begin(b);
    must(buf_addf(b, "],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}") == 0);
    for (int i = 0; b->len < 16384; i++)
        must(buf_addf(
                 b,
                 ",{\"type\":\"function\",\"function\":{\"name\":\"tool_%d\",\"description\":\"Does it.\","
                 "\"parameters\":{\"type\":\"object\",\"properties\":{\"q\":{\"type\":\"string\"},\"limit\":"
                 "{\"type\":\"integer\",\"minimum\":1}},\"required\":[\"q\"],\"additionalProperties\":false}}"
                 "}",
                 i) == 0);
    finish(b);
}

static void token_arrays(struct buf *b)
{
    must(buf_addf(b, "{\"model\":\"text-embedding-3-small\",\"input\":[[1") == 0);
    for (int i = 0; b->len < 16384; i++)
        must(buf_addf(b, i % 100 == 99 ? "],[%d" : ",%d", i * 7919 % 100000) == 0);
    must(buf_addf(b, "]]}") == 0);
}

static void real_numbers(struct buf *b)
{
    must(buf_addf(b, "{\"x\":[0.5") == 0);
    for (int i = 0; b->len < 16384; i++)
        must(buf_addf(b, ",%.*g", i % 3 ? 17 : 5, (double)i * 0.0123456789) == 0);
    must(buf_addf(b, "]}") == 0);
}

static const struct {
    const char *name;
    void (*write)(struct buf *b);
} bodies[] = {
    {"chat 1 KB", chat_1k},
    {"chat 16 KB", chat_16k},
    {"chat 100 KB", chat_100k},
    {"indented 16 KB", chat_spaced},
    {"\\u escapes 16 KB", chat_escaped},
    {"UTF-8 16 KB", chat_utf8},
    {"tools 16 KB", chat_tools},
    {"tokens 16 KB", token_arrays},
    {"reals 16 KB", real_numbers},
};

/* What the OpenAI SDK for Python sends: 15 fields. */
static void add_fields(struct fields *f)
{
    static const char *const sent[][2] = {
        {"Host", "127.0.0.1:8080"},
        {"Accept-Encoding", "gzip, deflate"},
        {"Connection", "keep-alive"},
        {"Accept", "application/json"},
        {"Content-Type", "application/json"},
        {"User-Agent", "OpenAI/Python 1.54.3"},
        {"X-Stainless-Lang", "python"},
        {"X-Stainless-Package-Version", "1.54.3"},
        {"X-Stainless-OS", "Linux"},
        {"X-Stainless-Arch", "x64"},
        {"X-Stainless-Runtime", "CPython"},
        {"X-Stainless-Runtime-Version", "3.11.2"},
        {"Authorization", "Bearer sk-proj-0123456789012345678901234567890123456789012345678901234567890123"},
        {"x-stainless-retry-count", "0"},
        {"Content-Length", "1024"},
    };
    struct header_table *table = header_table_new((struct header_names){0}, (struct header_names){0});

    must(table != NULL);
    for (size_t i = 0; i < ARRAY_LEN(sent); i++)
        must(fields_add(f, slice_str(sent[i][0]), slice_str(sent[i][1])) == 0);
    fields_classify(f, table);
    header_table_free(table);
}

static void bench_canon(struct work *w)
{
    puts("with SHA-256             canon ns    ns/B   jansson ns    ns/B   ratio");
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        AUTO(buf_done) struct buf body = BUF_INIT(BODY_MAX);
        double canon, jansson;

        bodies[i].write(&body);
        w->body = buf_slice(&body);
        canon = measure(w, by_canon);
        jansson = measure(w, by_jansson);
        printf("%-20s %12.0f %7.2f %12.0f %7.2f %7.1f\n", bodies[i].name, canon, canon / (double)body.len,
               jansson, jansson / (double)body.len, jansson / canon);
    }
}

static void bench_key(struct work *w)
{
    puts("\n15 header fields           whole key ns     memo tag ns");
    for (size_t i = 0; i < 3; i++) { /* the chats */
        AUTO(buf_done) struct buf body = BUF_INIT(BODY_MAX);
        double key, tag;

        bodies[i].write(&body);
        w->body = buf_slice(&body);
        key = measure(w, whole_key);
        tag = measure(w, memo_tag);
        printf("%-20s %18.0f %15.0f\n", bodies[i].name, key, tag);
    }
}

static void bench_memo(struct work *w)
{
    static const size_t sizes[] = {1000, 100000, 1000000};
    struct memo_value value = {0};

    puts("\nentries in the memo      look-up ns      bytes held");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        w->memo = memo_new(sizes[i] * 144);
        w->tags_n = sizes[i];
        w->tags = calloc(w->tags_n, sizeof(*w->tags));
        must(w->memo && w->tags);
        random_bytes(w->tags, w->tags_n * sizeof(*w->tags));
        for (size_t n = 0; n < w->tags_n; n++)
            memo_put(w->memo, &w->tags[n], &value);
        printf("%-20zu %14.0f %15zu\n", sizes[i], measure(w, memo_look_up), memo_bytes(w->memo));
        free(w->tags);
        memo_free(w->memo);
    }
}

int main(void)
{
    struct work w = {.sha256 = sha256_new(), .keys = key_maker_new(), .out = BUF_INIT(BODY_MAX)};
    uint8_t secret[16];

    random_bytes(secret, sizeof(secret));
    w.hasher = memo_hasher_new(secret);
    add_fields(&w.fields);
    bench_canon(&w);
    bench_key(&w);
    bench_memo(&w);
    sha256_free(w.sha256);
    key_maker_free(w.keys);
    memo_hasher_free(w.hasher);
    buf_done(&w.out);
    return w.sink == 1; /* it never is */
}
