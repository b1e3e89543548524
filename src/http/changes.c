#include "refrain/http/changes.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/wire/uriref.h"

enum {
    PLACES = 8192, /* 64 KiB */
    TARGET_BYTES_MAX = 16 * 1024,
};

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

struct changes {
    atomic_int_fast64_t latest; /* of all: nothing younger need be looked up */
    atomic_int_fast64_t at[PLACES];
};

struct changes *changes_new(void)
{
    return calloc(1, sizeof(struct changes));
}

void changes_free(struct changes *c)
{
    free(c);
}

static uint64_t mix(uint64_t h, struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.data[i]) * UINT64_C(0x100000001B3); /* FNV-1a */
    return h;
}

static size_t place_of(struct slice upstream, struct slice target)
{
    uint64_t h = mix(UINT64_C(0xCBF29CE484222325), upstream);

    h = mix((h ^ 0xFF) * UINT64_C(0x100000001B3), target); /* no name holds that byte */
    return (size_t)((h ^ h >> 32) % PLACES);
}

static void raise_to(atomic_int_fast64_t *at, int_fast64_t seq)
{
    int_fast64_t now = atomic_load(at);

    while (now < seq && !atomic_compare_exchange_weak(at, &now, seq))
        ;
}

static void note(struct changes *c, struct slice upstream, struct slice target, int64_t seq)
{
    raise_to(&c->at[place_of(upstream, target)], seq);
    raise_to(&c->latest, seq);
}

void changes_note(struct changes *c, const struct changes_place *place, const struct fields *answer,
                  int64_t seq)
{
    AUTO(buf_done) struct buf named = BUF_INIT(TARGET_BYTES_MAX);

    note(c, place->upstream, place->target, seq);
    for (unsigned i = 0; i < answer->n; i++) {
        const struct field *f = &answer->at[i];

        if (field_id(f) != HEADER_LOCATION && !slice_ieq(f->name, SLICE_OF("content-location")))
            continue;
        if (uriref_target(place->url, place->target, f->value, &named))
            note(c, place->upstream, buf_slice(&named), seq);
    }
}

bool changes_outdate(const struct changes *c, struct slice upstream, struct slice target, int64_t seq)
{
    if (seq >= atomic_load_explicit(&c->latest, memory_order_acquire))
        return false;
    return seq < atomic_load_explicit(&c->at[place_of(upstream, target)], memory_order_acquire);
}
