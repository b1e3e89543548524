#include "refrain/wire/tally.h"

#include <stdlib.h>

#include "refrain/base/attr.h"
#include "tally_priv.h"

const char *finish_kind_name(enum finish_kind kind)
{
    static const char *const names[FINISH_KIND_COUNT] = {
        [FINISH_NONE] = "",
        [FINISH_GOOD] = "stop",
        [FINISH_LENGTH] = "length",
        [FINISH_REFUSAL] = "refusal",
        [FINISH_FILTER] = "content_filter",
        [FINISH_INCOMPLETE] = "incomplete",
        [FINISH_ERROR] = "error",
    };

    return names[kind];
}

void tally_init(struct tally *t, const struct dialect *dialect, bool wants_json)
{
    *t = (struct tally){.dialect = dialect,
                        .wants_json = wants_json,
                        .tokens_in = -1,
                        .tokens_out = -1,
                        .tokens_cached = -1,
                        .tokens_cache_write = -1};
}

void tally_done(struct tally *t)
{
    free(t->parts);
    t->parts = NULL;
    t->parts_n = t->parts_cap = 0;
}

/* --- what dialects tell --- */

void tally_fault(struct tally *t, enum tally_fault fault)
{
    t->faults |= 1U << fault;
}

void tally_lost(struct tally *t)
{
    tally_fault(t, TALLY_MEMORY);
}

void tally_bytes(struct tally *t)
{
    tally_payload(t);
}

void tally_payload(struct tally *t)
{
    t->has_payload = true;
}

void tally_tokens(struct tally *t, int64_t in, int64_t out)
{
    if (in >= 0)
        t->tokens_in = in;
    if (out >= 0)
        t->tokens_out = out;
}

void tally_tokens_cached(struct tally *t, int64_t cached, int64_t written)
{
    if (cached >= 0)
        t->tokens_cached = cached;
    if (written >= 0)
        t->tokens_cache_write = written;
}

void tally_finish_as(struct tally *t, enum finish_kind kind, struct slice text)
{
    size_t len = text.len < TALLY_FINISH_TEXT_MAX ? text.len : TALLY_FINISH_TEXT_MAX;

    for (size_t i = 0; i < t->finishes_n; i++)
        if (t->finishes[i].len == len && memcmp(t->finishes[i].text, text.data, len) == 0)
            return;
    if (t->finishes_n == TALLY_FINISHES_MAX) {
        tally_fault(t, TALLY_MEMORY);
        return;
    }
    t->finishes[t->finishes_n].kind = kind;
    t->finishes[t->finishes_n].len = len;
    memcpy(t->finishes[t->finishes_n].text, text.data, len);
    t->finishes_n++;
}

static enum finish_kind finish_kind_of(const struct dialect *d, struct slice text)
{
    for (size_t i = 0; i < d->finishes_n; i++)
        if (slice_ieq(d->finishes[i].text, text))
            return d->finishes[i].kind;
    return d->finish_otherwise == FINISH_NONE ? FINISH_GOOD : d->finish_otherwise;
}

void tally_finish(struct tally *t, struct jscan_value reason)
{
    if (reason.kind == JSCAN_STRING && reason.text.len > 0)
        tally_finish_as(t, finish_kind_of(t->dialect, reason.text), reason.text);
}

/* --- parts --- */

static struct tally_part *part_new(struct tally *t, uint32_t choice, uint32_t index, uint64_t id)
{
    struct tally_part *p;

    if (t->parts_n == t->parts_cap) {
        size_t cap = t->parts_cap ? t->parts_cap * 2 : 4;
        struct tally_part *grown = cap <= TALLY_PARTS_MAX ? realloc(t->parts, cap * sizeof(*grown)) : NULL;

        if (!grown) {
            tally_fault(t, TALLY_MEMORY);
            return NULL;
        }
        t->parts = grown;
        t->parts_cap = cap;
    }
    t->last = t->parts_n++;
    p = &t->parts[t->last];
    *p = (struct tally_part){.id = id, .choice = choice, .index = index};
    p->is_json = index != TALLY_CHOICE || t->wants_json;
    jscan_text_init(&p->text);
    return p;
}

static bool part_is(const struct tally_part *p, uint32_t choice, uint32_t index)
{
    return p->choice == choice && p->index == index;
}

/* The latest one of that name; an event nearly always goes on with the part of the event before. */
static struct tally_part *part_find(struct tally *t, uint32_t choice, uint32_t index)
{
    if (t->last < t->parts_n && t->last + 1 == t->parts_n && part_is(&t->parts[t->last], choice, index))
        return &t->parts[t->last];
    for (size_t i = t->parts_n; i > 0; i--)
        if (part_is(&t->parts[i - 1], choice, index))
            return &t->parts[i - 1];
    return NULL;
}

struct tally_part *tally_choice(struct tally *t, uint32_t choice)
{
    struct tally_part *p = part_find(t, choice, TALLY_CHOICE);

    return p ? p : part_new(t, choice, TALLY_CHOICE, 0);
}

void tally_finish_choice(struct tally *t, uint32_t choice, struct jscan_value reason)
{
    struct tally_part *part = jscan_is_empty(reason) ? NULL : part_find(t, choice, TALLY_CHOICE);

    if (part)
        part->finished = true;
    tally_finish(t, reason);
}

static void note_call(struct tally *t, uint32_t choice)
{
    struct tally_part *p = tally_choice(t, choice);

    if (p)
        p->calls = true;
}

struct tally_part *tally_call(struct tally *t, uint32_t choice, uint32_t index)
{
    struct tally_part *p = part_find(t, choice, index);

    if (p)
        return p;
    note_call(t, choice);
    return part_new(t, choice, index, 0);
}

static uint64_t id_of(struct slice id)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.data[i]) * UINT64_C(1099511628211);
    return id.len > 0 ? h | 1 : 0;
}

struct tally_part *tally_call_new(struct tally *t, uint32_t choice, uint32_t index, struct slice id)
{
    struct tally_part *p = part_find(t, choice, index);

    if (p && p->id == id_of(id))
        return p;
    note_call(t, choice);
    return part_new(t, choice, index, id_of(id));
}

void tally_add(struct tally_part *p, struct jscan_value text)
{
    if (!p || jscan_is_empty(text))
        return;
    p->said = true;
    if (text.kind != JSCAN_STRING)
        return;
    p->has_text = true;
    if (p->is_json)
        jscan_text_feed_string(&p->text, text.text);
}

void tally_say(struct tally_part *choice)
{
    if (choice)
        choice->said = true;
}

void tally_restart(struct tally_part *choice)
{
    if (!choice)
        return;
    choice->has_text = false;
    jscan_text_init(&choice->text);
}

void tally_arguments(struct tally *t, struct tally_part *choice, struct jscan_value arguments)
{
    struct jscan_text text;

    if (choice)
        choice->calls = true;
    if (arguments.kind != JSCAN_STRING)
        return;
    jscan_text_init(&text);
    jscan_text_feed_string(&text, arguments.text);
    if (text.some && !jscan_text_valid(&text))
        tally_fault(t, TALLY_ARGUMENTS);
}

void tally_refuse(struct tally *t, struct tally_part *choice)
{
    if (choice)
        choice->said = choice->refused = true;
    tally_finish_as(t, FINISH_REFUSAL, SLICE_OF("refusal"));
}

bool tally_is_finished(const struct tally *t)
{
    bool any = false;

    for (size_t i = 0; i < t->parts_n; i++) {
        if (t->parts[i].index == TALLY_CHOICE && !t->parts[i].finished)
            return false;
        any |= t->parts[i].index == TALLY_CHOICE;
    }
    return any;
}

static uint32_t part_faults(const struct tally *t, const struct tally_part *p)
{
    bool is_call = p->index != TALLY_CHOICE;

    if (is_call)
        return p->text.some && !jscan_text_valid(&p->text) ? 1U << TALLY_ARGUMENTS : 0;
    if (!t->wants_json || !p->has_text || p->refused || p->calls)
        return 0; /* what a model says beside a call or a refusal is no answer to the request */
    return jscan_text_valid(&p->text) ? 0 : 1U << TALLY_WANTED_JSON;
}

static bool part_is_empty(const struct tally_part *p)
{
    return p->index == TALLY_CHOICE && !p->said && !p->calls;
}

void tally_settle(struct tally *t)
{
    for (size_t i = 0; i < t->parts_n; i++) {
        t->faults |= part_faults(t, &t->parts[i]);
        t->is_empty |= part_is_empty(&t->parts[i]);
    }
    t->parts_n = 0;
}

/* --- being fed --- */

/* Servers write an error that is none in many ways. Only text that holds the word is looked into; inside of a
 * string it would stand as \"error\". */
static bool has_error(struct slice text)
{
    static const struct slice word = SLICE("\"error\"");
    struct jscan_value error;

    if (text.len == 0 || !memmem(text.data, text.len, word.data, word.len))
        return false;
    error = jscan_get(jscan_root(text), SLICE_OF("error"));
    if (error.kind == JSCAN_BOOL)
        return error.text.data[0] == 't';
    return error.kind == JSCAN_OBJECT || !jscan_is_empty(error);
}

void tally_whole(struct tally *t, struct slice body)
{
    if (t->dialect->json && !jscan_valid(body)) {
        tally_fault(t, TALLY_NOT_JSON);
        return;
    }
    if (t->dialect->json && has_error(body))
        tally_fault(t, TALLY_ERROR_INSIDE);
    if (t->dialect->whole)
        t->dialect->whole(t, body);
    tally_settle(t);
}

static bool is_blank(struct slice data)
{
    return slice_trim(data).len == 0;
}

enum event_meaning tally_event(struct tally *t, struct slice event, struct slice data)
{
    enum event_meaning meaning;
    bool error;

    if (!t->dialect->event)
        return EVENT_MORE;
    if (is_blank(data) && event.len == 0)
        return EVENT_IGNORE; /* servers send such to keep a connection alive */
    if (t->dialect->stream_word.len > 0 && slice_eq(slice_trim(data), t->dialect->stream_word))
        return t->dialect->event(t, event, slice_trim(data));
    if (!jscan_valid(data))
        tally_fault(t, TALLY_NOT_JSON);
    error = slice_eq(event, SLICE_OF("error")) || has_error(data);
    meaning = error ? EVENT_ERROR : t->dialect->event(t, event, data);
    if (meaning == EVENT_ERROR)
        tally_fault(t, TALLY_ERROR_INSIDE);
    return meaning;
}

/* --- the result --- */

static enum tally_fault first_fault(uint32_t faults)
{
    for (enum tally_fault f = TALLY_GOOD; f < TALLY_FAULT_COUNT; f++)
        if (faults >> f & 1)
            return f;
    return TALLY_GOOD;
}

static void copy_finishes(const struct tally *t, struct tally_result *out)
{
    out->finishes_n = t->finishes_n;
    for (size_t i = 0; i < t->finishes_n; i++) {
        struct tally_finish f = {t->finishes[i].kind, slice_make(t->finishes[i].text, t->finishes[i].len)};
        size_t at = i;

        for (; at > 0 && out->finishes[at - 1].kind < f.kind; at--)
            out->finishes[at] = out->finishes[at - 1];
        out->finishes[at] = f;
    }
}

void tally_result(const struct tally *t, struct tally_result *out)
{
    uint32_t faults = t->faults;
    bool empty = t->is_empty;

    for (size_t i = 0; i < t->parts_n; i++) {
        faults |= part_faults(t, &t->parts[i]);
        empty |= part_is_empty(&t->parts[i]);
    }
    if (t->dialect->whole && !t->has_payload)
        faults |= 1U << TALLY_NO_PAYLOAD;
    *out =
        (struct tally_result){.fault = first_fault(faults), .empty = empty, .finished = tally_is_finished(t)};
    out->tokens_in = t->tokens_in;
    out->tokens_out = t->tokens_out;
    out->tokens_cached = t->tokens_cached;
    out->tokens_cache_write = t->tokens_cache_write;
    copy_finishes(t, out);
}
