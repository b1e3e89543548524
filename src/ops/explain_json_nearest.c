#include "explain_json_priv.h"
#include "refrain/base/attr.h"
#include "refrain/wire/jleaf.h"

enum { PATH_BYTES_MAX = 4096 };

/* Names that the APIs define, and so no content of anyone's: all that a name's sum is tried against. */
static const struct slice known_members[] = {
    SLICE("audio"),
    SLICE("background"),
    SLICE("cachedContent"),
    SLICE("dimensions"),
    SLICE("encoding_format"),
    SLICE("format"),
    SLICE("frequency_penalty"),
    SLICE("include"),
    SLICE("input"),
    SLICE("instructions"),
    SLICE("keep_alive"),
    SLICE("logit_bias"),
    SLICE("logprobs"),
    SLICE("max_completion_tokens"),
    SLICE("max_output_tokens"),
    SLICE("max_tokens"),
    SLICE("mcp_servers"),
    SLICE("metadata"),
    SLICE("model"),
    SLICE("n"),
    SLICE("parallel_tool_calls"),
    SLICE("prediction"),
    SLICE("presence_penalty"),
    SLICE("previous_response_id"),
    SLICE("prompt"),
    SLICE("raw"),
    SLICE("reasoning_effort"),
    SLICE("repetition_penalty"),
    SLICE("seed"),
    SLICE("service_tier"),
    SLICE("speed"),
    SLICE("stop"),
    SLICE("stop_sequences"),
    SLICE("store"),
    SLICE("stream"),
    SLICE("suffix"),
    SLICE("system"),
    SLICE("temperature"),
    SLICE("template"),
    SLICE("think"),
    SLICE("tool_choice"),
    SLICE("tools"),
    SLICE("top_k"),
    SLICE("top_logprobs"),
    SLICE("top_n"),
    SLICE("top_p"),
    SLICE("truncate"),
    SLICE("truncation"),
    SLICE("verbosity"),
    SLICE("voice"),
};
static const struct slice known_headers[] = {
    SLICE("accept"),           SLICE("accept-language"),
    SLICE("anthropic-beta"),   SLICE("anthropic-version"),
    SLICE("content-encoding"), SLICE("content-type"),
    SLICE("cookie"),           SLICE("http-referer"),
    SLICE("openai-beta"),      SLICE("openai-organization"),
    SLICE("openai-project"),   SLICE("origin"),
    SLICE("referer"),          SLICE("x-title"),
};

static const struct slice *known_name(const struct explanation *e, const struct recent_difference *d)
{
    const struct siphash_key *secret = &e->trace->secret;

    for (size_t i = 0; d->leaf && i < ARRAY_LEN(known_members); i++)
        if (trace_member_name(secret, known_members[i]) == d->name)
            return &known_members[i];
    for (size_t i = 0; !d->leaf && i < ARRAY_LEN(known_headers); i++)
        if (trace_header_name(secret, known_headers[i]) == d->name)
            return &known_headers[i];
    return NULL;
}

static int leaf_path(const struct explanation *e, unsigned at, struct buf *out)
{
    struct jleaf w;

    jleaf_begin(&w, buf_slice(&e->canonical));
    while (jleaf_next(&w))
        if (at-- == 0)
            return jleaf_path(&w, out);
    return 0;
}

/* A part of the request at hand has a name that whoever asks has written. */
static void put_own_part(struct showing *s, const struct recent_difference *d)
{
    const struct trace *t = s->e->trace;
    AUTO(buf_done) struct buf path = BUF_INIT(PATH_BYTES_MAX);
    int r = 0;

    if (!d->leaf) {
        jout_str(&s->j, "part", trace_kind_name(t->head_kind[d->at]));
        if (t->head_name[d->at].len > 0)
            jout_text(&s->j, "name", t->head_name[d->at]);
        return;
    }
    if (d->at < TRACE_LEAVES_MAX)
        r = leaf_path(s->e, d->at, &path);
    jout_str(&s->j, "part", "body");
    if (d->at == TRACE_LEAVES_MAX)
        jout_str(&s->j, "name", "what follows the first 256 values");
    else if (r == 0 && path.len > 0)
        jout_text(&s->j, "name", buf_slice(&path));
}

static void put_others_part(struct showing *s, const struct recent_difference *d)
{
    const struct slice *name = known_name(s->e, d);

    jout_str(&s->j, "part", d->leaf ? "body" : "header");
    if (name)
        jout_text(&s->j, "name", *name);
    else
        jout_null(&s->j, "name");
}

static void put_difference(struct showing *s, const struct recent_difference *d)
{
    static const char *const hows[] = {
        [RECENT_DIFFERS] = "differs",
        [RECENT_ONLY_ASKED] = "only_here",
        [RECENT_ONLY_OTHER] = "only_there",
    };

    jout_object(&s->j, NULL);
    if (d->how == RECENT_ONLY_OTHER)
        put_others_part(s, d);
    else
        put_own_part(s, d);
    jout_str(&s->j, "how", hows[d->how]);
    jout_end(&s->j);
}

void explain_json_nearest(struct showing *s)
{
    const struct recent_nearest *n = &s->e->nearest;
    char hex[DIGEST_HEX_LEN + 1];

    if (!s->e->has_nearest) {
        jout_null(&s->j, "nearest");
        return;
    }
    digest_hex(&n->key, hex);
    jout_object(&s->j, "nearest");
    jout_str(&s->j, "key", hex);
    jout_milli(&s->j, "seconds_ago", n->age_ms);
    jout_str(&s->j, "not_stored", n->not_stored);
    jout_int(&s->j, "parts", n->parts);
    jout_int(&s->j, "different", n->differ);
    jout_array(&s->j, "differences");
    for (unsigned i = 0; i < n->n; i++)
        put_difference(s, &n->at[i]);
    jout_end(&s->j);
    jout_end(&s->j);
}
