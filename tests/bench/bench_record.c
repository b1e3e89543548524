/*
 * What an entry costs on its way below memory and back: made smaller, packed, sealed; read, decoded. Answers
 * of 1.5 KB, 32 KB and 1 MB. CPU time of this thread, the best of some rounds. Run: ninja -C build
 * tests/bench/bench_record && build/tests/bench/bench_record
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "measure.h"
#include "refrain/store/record.h"
#include "refrain/store/shrink.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

static const struct field fields[] = {
    {SLICE("content-type"), SLICE("application/json"), 0},
    {SLICE("date"), SLICE("Mon, 01 Jan 2024 00:00:00 GMT"), 0},
    {SLICE("openai-version"), SLICE("2020-10-01"), 0},
    {SLICE("strict-transport-security"), SLICE("max-age=31536000; includeSubDomains"), 0},
};

static const struct shrink_conf usual = {.threshold = 0, .level = 6};

struct work {
    struct entry *e;
    struct entry_box *small;
    struct record_codec codec;
    struct blob *record;
};

/* Words at random: half as regular as an answer. */
static struct slice text_of(size_t len)
{
    static const char *const words[] = {"the ", "answer ", "depends ", "on ", "what ",
                                        "was ", "asked, ", "7 ",       "and "};
    char *text = malloc(len + 16);
    uint32_t dice = 1;

    must(text != NULL);
    for (size_t at = 0; at < len;) {
        const char *word = words[(dice = dice * 1664525 + 1013904223) >> 20 & 7];

        memcpy(text + at, word, strlen(word));
        at += strlen(word);
    }
    return slice_make(text, len);
}

static struct entry *entry_of(struct slice body)
{
    struct entry_parts p = {
        .head = {.id = {"0123456789abcdef0123456789abcdef"}, .status = 200, .operation = OP_CHAT},
        .namespace_ = SLICE("default"),
        .model = SLICE("gpt-4o-mini"),
        .op_name = SLICE("chat"),
        .fields = fields,
        .fields_n = ARRAY_LEN(fields),
        .body = &body,
        .body_n = 1,
    };
    struct entry *e = malloc(entry_packed_size(&p));

    must(e != NULL);
    entry_pack(&p, e);
    return e;
}

static void shrink(struct work *w)
{
    struct entry_box *box = shrink_entry(w->e, &usual);

    must(box != NULL);
    entry_box_unref(box);
}

static void undo(struct work *w)
{
    struct entry_box *box = shrink_undo(entry_box_entry(w->small), 1 << 24);

    must(box != NULL);
    entry_box_unref(box);
}

static void pack(struct work *w)
{
    struct blob *b;

    must(record_pack(w->e, 0, 0, &w->codec, &b) == RECORD_OK);
    blob_unref(b);
}

static void read_back(struct work *w)
{
    struct record_seen seen;

    must(record_read(blob_slice(w->record), &w->e->key, &w->codec, &seen) == RECORD_OK);
    entry_box_unref(seen.box);
}

static void look(struct work *w)
{
    struct record_seen seen;
    size_t wanted;

    must(record_look(blob_slice(w->record), &w->e->key, &w->codec, &seen, &wanted) == RECORD_OK);
    entry_box_unref(seen.box);
}

static void report(const char *what, size_t bytes, double ns)
{
    printf("%-32s %8zu bytes %10.0f ns %7.2f ns a byte\n", what, bytes, ns, ns / (double)bytes);
}

static void measure_codec(struct work *w, size_t size, const char *how, const struct seal_keys *keys)
{
    static const struct {
        const char *what;
        void (*once)(struct work *w);
    } rows[] = {{"packed", pack}, {"read", read_back}, {"looked at", look}};
    char what[64];

    w->codec.keys = keys;
    must(record_pack(w->e, 0, 0, &w->codec, &w->record) == RECORD_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        (void)snprintf(what, sizeof(what), "%s, %s", rows[i].what, how);
        report(what, size, measure(w, rows[i].once));
    }
    blob_unref(w->record);
}

int main(void)
{
    static const size_t sizes[] = {1500, 32 << 10, 1 << 20};
    static const uint8_t key[SEAL_KEY_BYTES] = {1};
    struct seal_keys *keys = seal_keys_new();

    must(keys && seal_keys_add(keys, key) == 0);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct slice body = text_of(sizes[i]);
        struct work w = {.e = entry_of(body)};

        w.small = shrink_entry(w.e, &usual);
        must(w.small != NULL);
        report("made smaller", sizes[i], measure(&w, shrink));
        report("its identity again", sizes[i], measure(&w, undo));
        measure_codec(&w, sizes[i], "not sealed", NULL);
        measure_codec(&w, sizes[i], "sealed", keys);
        entry_box_unref(w.small);
        free(w.e);
        free((char *)(uintptr_t)body.data);
    }
    seal_keys_free(keys);
    return 0;
}
