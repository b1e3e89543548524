#define PCRE2_CODE_UNIT_WIDTH 8
#include "refrain/wire/redact.h"

#include <errno.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/*
 * PCRE2 bounds the steps from one place of the text only, so a pattern is tried from some places at a time,
 * and the time is looked at in between.
 */
enum {
    STEPS_MAX = 4000,   /* of one place */
    PLACES = 128,       /* from which a pattern is tried in one go */
    HEAP_KIB_MAX = 256, /* of one try */
    BUDGET_NS = 5000000,
};

struct redact {
    size_t n;
    pcre2_code *at[REDACT_PATTERNS_MAX];
    pcre2_match_context *limits;
};

struct redact *redact_new(void)
{
    struct redact *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->limits = pcre2_match_context_create(NULL);
    if (!r->limits) {
        free(r);
        return NULL;
    }
    (void)pcre2_set_match_limit(r->limits, STEPS_MAX);
    (void)pcre2_set_heap_limit(r->limits, HEAP_KIB_MAX);
    return r;
}

void redact_free(struct redact *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        pcre2_code_free(r->at[i]);
    pcre2_match_context_free(r->limits);
    free(r);
}

static int refuse(const char *why, size_t at, char out_why[REDACT_WHY_BYTES], size_t *out_at)
{
    (void)snprintf(out_why, REDACT_WHY_BYTES, "%s", why);
    *out_at = at;
    return -EINVAL;
}

/* One that matches nothing at all would stand between any two bytes. */
static bool matches_nothing(const struct redact *r, const pcre2_code *code)
{
    pcre2_match_data *found = pcre2_match_data_create(1, NULL);
    int n = found ? pcre2_match(code, (PCRE2_SPTR) "", 0, 0, 0, found, r->limits) : 0;

    pcre2_match_data_free(found);
    return n > 0;
}

int redact_add(struct redact *r, struct slice pattern, char out_why[REDACT_WHY_BYTES], size_t *out_at)
{
    const uint32_t options =
        PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT;
    PCRE2_SIZE at = 0;
    pcre2_code *code;
    int error;

    if (r->n == REDACT_PATTERNS_MAX)
        return -ENOSPC;
    if (pattern.len > REDACT_PATTERN_BYTES_MAX)
        return refuse("it is longer than 1024 bytes", REDACT_PATTERN_BYTES_MAX, out_why, out_at);
    code = pcre2_compile((PCRE2_SPTR)pattern.data, pattern.len, options, &error, &at, NULL);
    if (!code) {
        PCRE2_UCHAR text[REDACT_WHY_BYTES] = "";

        (void)pcre2_get_error_message(error, text, sizeof(text));
        return refuse((const char *)text, at, out_why, out_at);
    }
    if (matches_nothing(r, code)) {
        pcre2_code_free(code);
        return refuse("it matches the empty text", 0, out_why, out_at);
    }
    r->at[r->n++] = code;
    return 0;
}

/* -- one text -- */

/* Of this thread: what others take of the machine is no fault of a pattern's. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct run {
    const struct redact *r;
    pcre2_match_context *limits;
    pcre2_match_data *found;
    int64_t until_ns;
    char *out;
    size_t len, cap;
};

static void put(struct run *run, const char *bytes, size_t len)
{
    if (len > run->cap - run->len)
        len = run->cap - run->len;
    if (len > 0)
        memcpy(run->out + run->len, bytes, len);
    run->len += len;
}

/* Never in the middle of a character: there no match may begin. */
static size_t place_from(struct slice text, size_t at)
{
    while (at < text.len && ((uint8_t)text.data[at] & 0xC0) == 0x80)
        at++;
    return at < text.len ? at : text.len;
}

/* The next match in @text from @from on: 1 found, 0 none, -1 it cannot be told. */
static int find(struct run *run, const pcre2_code *code, struct slice text, size_t from)
{
    size_t last = from;
    int n;

    do {
        if (cpu_ns() > run->until_ns)
            return -1;
        last = place_from(text, last + PLACES);
        (void)pcre2_set_offset_limit(run->limits, last);
        n = pcre2_match(code, (PCRE2_SPTR)text.data, text.len, from, 0, run->found, run->limits);
        from = last;
    } while (n == PCRE2_ERROR_NOMATCH && last < text.len);
    if (n == PCRE2_ERROR_NOMATCH)
        return 0;
    return n < 0 ? -1 : 1;
}

/* @text without what @code matches, to run->out. false: it cannot be told. */
static bool take_out(struct run *run, const pcre2_code *code, struct slice text)
{
    size_t done = 0, from = 0;
    int n = 0;

    run->len = 0;
    while (from < text.len && (n = find(run, code, text, from)) > 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(run->found);

        if (at[1] <= at[0] || at[0] < done) { /* of nothing, by a look ahead or back */
            from = place_from(text, at[1] > from ? at[1] : from + 1);
            continue;
        }
        put(run, text.data + done, at[0] - done);
        put(run, REDACT_MARK, sizeof(REDACT_MARK) - 1);
        done = from = at[1];
    }
    if (n < 0)
        return false;
    put(run, text.data + done, text.len - done);
    return true;
}

static bool take_out_all(struct run *run, struct slice *text, char *rooms[2])
{
    for (size_t i = 0; i < run->r->n; i++) {
        run->out = rooms[i % 2];
        if (!take_out(run, run->r->at[i], *text))
            return false;
        *text = slice_make(run->out, run->len);
    }
    return true;
}

size_t redact_text(const struct redact *r, struct slice text, char *out, size_t cap)
{
    char one[REDACT_TEXT_BYTES_MAX], two[REDACT_TEXT_BYTES_MAX];
    struct run run = {.r = r, .cap = REDACT_TEXT_BYTES_MAX, .until_ns = cpu_ns() + BUDGET_NS};

    if (text.len > REDACT_TEXT_BYTES_MAX)
        text.len = REDACT_TEXT_BYTES_MAX;
    run.limits = pcre2_match_context_copy(r->limits);
    run.found = pcre2_match_data_create(1, NULL);
    if (!run.limits || !run.found || !take_out_all(&run, &text, (char *[]){one, two}))
        text = SLICE_OF(REDACT_MARK);
    if (text.len > cap)
        text.len = cap;
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    pcre2_match_data_free(run.found);
    pcre2_match_context_free(run.limits);
    return text.len;
}
