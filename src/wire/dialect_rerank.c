/*
 * Reranking, as Cohere began it (`/v2/rerank`) and Jina, Voyage, vLLM, TEI and others have it with names of
 * their own. https://docs.cohere.com/reference/rerank
 */
#include "dialect_priv.h"
#include "tally_priv.h"

/* `results`, `data`, or the list itself. With a threshold it may rightly be empty. */
static struct jscan_value find_results(struct jscan_value root)
{
    struct jscan_value results = jscan_get(root, SLICE_OF("results"));

    if (results.kind == JSCAN_ARRAY)
        return results;
    return root.kind == JSCAN_ARRAY && !jscan_is_empty(root) ? root : jscan_get(root, SLICE_OF("data"));
}

static void tally_units(struct tally *t, struct jscan_value units)
{
    tally_tokens(t, jscan_count(jscan_get(units, SLICE_OF("input_tokens")), -1),
                 jscan_count(jscan_get(units, SLICE_OF("output_tokens")), -1));
}

/* In `usage` or in `meta` or not at all: only what is counted in tokens counts, and what is billed first. */
static void tally_usage(struct tally *t, struct jscan_value root)
{
    struct jscan_value tokens = jscan_get(jscan_get(root, SLICE_OF("usage")), SLICE_OF("total_tokens"));
    struct jscan_value meta = jscan_get(root, SLICE_OF("meta"));

    tally_units(t, jscan_get(meta, SLICE_OF("tokens")));
    tally_units(t, jscan_get(meta, SLICE_OF("billed_units")));
    tally_tokens(t, jscan_count(tokens, -1), -1);
}

static void rerank_whole(struct tally *t, struct slice body)
{
    struct jscan_value root = jscan_root(body);
    struct jscan_value results = find_results(root);
    struct tally_part *answer = tally_choice(t, 0);

    if (results.kind == JSCAN_ARRAY)
        tally_payload(t);
    if (!jscan_is_empty(results))
        tally_say(answer);
    tally_usage(t, root);
}

const struct dialect dialect_rerank = {
    .name = "rerank",
    .paths = {{SLICE("/rerank"), STREAM_NEVER}},
    .canon = {.drop_nulls = true},
    .json = true,
    .request_id_header = "x-request-id",
    .usages = {OWN_USAGE("usage"), USAGE_IN("meta", "billed_units"), USAGE_IN("meta", "tokens")},
    .whole = rerank_whole,
    .error = dialect_openai_error,
};
