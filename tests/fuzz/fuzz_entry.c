/*
 * entry: whatever entry_check lets through is walked from end to end inside its bounds, is what its own parts
 * pack to, and a walk over what it does not let through stays inside too, as long as the span of the fields
 * does.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/store/entry.h"
#include "refrain/wire/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define HOLDS(what)                                                                                          \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            fprintf(stderr, "does not hold: %s\n", #what);                                                   \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

enum { LEN_MAX = 1 << 16 };

static void read_all(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        (void)*(const volatile char *)(data + i); /* volatile: the read is what matters */
}

static size_t walk_fields(const struct entry *e)
{
    struct entry_field f = {0};
    size_t n = 0;

    for (; entry_next_field(e, &f); n++) {
        read_all(f.name, f.name_len + 1);
        read_all(f.value, f.value_len + 1);
    }
    return n;
}

static void read_slice(struct slice s)
{
    read_all(s.data, s.len);
}

static void pack_again(const struct entry *e)
{
    struct field *fields = calloc(e->fields_n + 1U, sizeof(*fields));
    struct entry *again = malloc(e->bytes);
    struct slice body;
    struct entry_parts p;

    HOLDS(fields && again);
    p = entry_parts_of(e, fields, &body);
    HOLDS(entry_packed_size(&p) == e->bytes);
    entry_pack(&p, again);
    HOLDS(memcmp(again, e, e->bytes) == 0);
    free(again);
    free(fields);
}

static void judge(const struct entry *e, size_t len)
{
    if (!entry_check(e, len)) {
        if ((uint64_t)e->fields.at + e->fields.len <= len)
            (void)walk_fields(e);
        return;
    }
    read_slice(entry_slice(e, e->namespace_));
    read_slice(entry_slice(e, e->model));
    read_slice(entry_slice(e, e->etag));
    read_slice(entry_slice(e, e->tags));
    read_slice(entry_slice(e, e->op_name));
    read_slice(entry_slice(e, e->fields));
    read_slice(entry_slice(e, e->body));
    read_slice(entry_slice(e, e->plain));
    HOLDS(walk_fields(e) == e->fields_n);
    pack_again(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct entry *e =
        malloc(len ? len : 1); /* no longer than the input, so that a step past its end is seen */

    HOLDS(e);
    if (len > 0)
        memcpy(e, data, len);
    if (len < sizeof(*e) || len > LEN_MAX) {
        HOLDS(len > LEN_MAX || !entry_check(e, len));
    } else {
        judge(e, len);
        e->format = ENTRY_FORMAT; /* what chance would find too seldom */
        e->bytes = (uint32_t)len;
        judge(e, len);
    }
    free(e);
    return 0;
}
