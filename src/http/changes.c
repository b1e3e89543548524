#include "refrain/http/changes.h"

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/wire/uriref.h"

enum { TARGET_BYTES_MAX = 16 * 1024 };

bool method_is_unsafe(struct slice method)
{
    static const struct slice safe[] = {
        SLICE("GET"),      SLICE("HEAD"),   SLICE("OPTIONS"), SLICE("TRACE"),
        SLICE("PROPFIND"), SLICE("REPORT"), SLICE("SEARCH"),  SLICE("QUERY"),
    };

    for (size_t i = 0; i < ARRAY_LEN(safe); i++)
        if (slice_eq(method, safe[i]))
            return false;
    return true;
}

struct siphash_key changes_key(struct slice secret)
{
    struct digest sum = hmac_sha256(secret, SLICE_OF("refrain: sums of targets"));
    struct siphash_key key;

    memcpy(&key, sum.bytes, sizeof(key));
    return key;
}

uint64_t changes_sum(const struct siphash_key *key, struct slice upstream, struct slice target)
{
    struct siphash s;
    uint64_t sum;

    siphash_begin(&s, key);
    siphash_add(&s, upstream);
    siphash_add(&s, SLICE_OF("\n")); /* in no name, nor in a target */
    siphash_add(&s, target);
    sum = siphash_end(&s);
    return sum ? sum : 1;
}

size_t changes_of(const struct siphash_key *key, const struct changes_place *place,
                  const struct fields *answer, uint64_t out[CHANGES_MAX])
{
    AUTO(buf_done) struct buf named = BUF_INIT(TARGET_BYTES_MAX);
    size_t n = 0;

    out[n++] = changes_sum(key, place->upstream, place->target);
    for (unsigned i = 0; i < answer->n && n < CHANGES_MAX; i++) {
        const struct field *f = &answer->at[i];

        if (field_id(f) != HEADER_LOCATION && !slice_ieq(f->name, SLICE_OF("content-location")))
            continue;
        if (uriref_target(place->url, place->target, f->value, &named))
            out[n++] = changes_sum(key, place->upstream, buf_slice(&named));
    }
    return n;
}
