#include "refrain/store/resp_guard.h"

#include <assert.h>

/* What a single byte leads to: the verdicts, and to go on within the same call. */
enum { GO_ON = -1 };

void resp_guard_init(struct resp_guard *g, const struct resp_limits *limits)
{
    *g = (struct resp_guard){.limits = *limits};
    assert(limits->depth_max <= RESP_DEPTH_MAX);
}

/* A value is whole: of the reply, or of the innermost array, which may be whole by it. */
static int end_value(struct resp_guard *g)
{
    g->at = RESP_AT_TYPE;
    while (g->depth > 0) {
        if (--g->left[g->depth - 1] > 0)
            return GO_ON;
        g->depth--;
    }
    g->reply_bytes = 0;
    g->elements = 0;
    return RESP_REPLY;
}

static int begin_value(struct resp_guard *g, char type)
{
    g->type = type;
    g->negative = false;
    g->digits = 0;
    g->number = 0;
    g->line_bytes = 0;
    switch (type) {
    case '+':
    case '-':
        g->at = RESP_IN_LINE;
        return GO_ON;
    case ':':
    case '$':
    case '*':
        g->at = RESP_IN_NUMBER;
        return GO_ON;
    default:
        return RESP_BAD;
    }
}

static int in_line(struct resp_guard *g, char c)
{
    if (c == '\r')
        g->at = RESP_AT_LF;
    else if (c == '\n' || ++g->line_bytes > RESP_LINE_BYTES_MAX)
        return RESP_BAD;
    return GO_ON;
}

/* One form for each number, as servers write them: no plus, no leading zero, no minus zero. */
static int in_number(struct resp_guard *g, char c)
{
    const uint64_t most = (uint64_t)INT64_MAX + (g->negative ? 1 : 0);

    if (c == '-' && g->digits == 0 && !g->negative) {
        g->negative = true;
        return GO_ON;
    }
    if (c == '\r' && g->digits > 0) {
        g->at = RESP_AT_LF;
        return GO_ON;
    }
    if (c < '0' || c > '9')
        return RESP_BAD;
    if (g->digits > 0 && g->number == 0)
        return RESP_BAD;
    if (g->number > (most - (unsigned)(c - '0')) / 10)
        return RESP_BAD;
    g->number = g->number * 10 + (unsigned)(c - '0');
    g->digits++;
    return g->negative && g->number == 0 ? RESP_BAD : GO_ON;
}

static int begin_bulk(struct resp_guard *g)
{
    g->lone = g->depth == 0;
    if (g->number > (g->lone ? g->limits.lone_bytes_max : g->limits.bulk_bytes_max))
        return RESP_BAD;
    g->bulk_left = (size_t)g->number;
    g->at = g->bulk_left > 0 ? RESP_IN_BULK : RESP_AT_BULK_CR;
    if (!g->lone || g->bulk_left <= g->limits.lone_bytes_min)
        return GO_ON;
    g->lone_bytes = g->bulk_left;
    return RESP_LONE;
}

static int begin_array(struct resp_guard *g)
{
    if (g->number > g->limits.elements_max - g->elements)
        return RESP_BAD;
    g->elements += (size_t)g->number;
    if (g->depth >= g->limits.depth_max)
        return RESP_BAD;
    if (g->number == 0)
        return end_value(g);
    g->left[g->depth++] = (size_t)g->number;
    g->at = RESP_AT_TYPE;
    return GO_ON;
}

static int end_line(struct resp_guard *g)
{
    if (g->type == '+' || g->type == '-' || g->type == ':')
        return end_value(g);
    if (g->negative) /* -1: there is none */
        return g->number == 1 ? end_value(g) : RESP_BAD;
    return g->type == '$' ? begin_bulk(g) : begin_array(g);
}

static int on_byte(struct resp_guard *g, char c)
{
    switch (g->at) {
    case RESP_AT_TYPE:
        return begin_value(g, c);
    case RESP_IN_LINE:
        return in_line(g, c);
    case RESP_IN_NUMBER:
        return in_number(g, c);
    case RESP_AT_LF:
        return c == '\n' ? end_line(g) : RESP_BAD;
    case RESP_AT_BULK_CR:
        g->at = RESP_AT_BULK_LF;
        return c == '\r' ? GO_ON : RESP_BAD;
    case RESP_AT_BULK_LF:
        return c == '\n' ? end_value(g) : RESP_BAD;
    default:
        return RESP_BAD;
    }
}

/* A text's bytes are passed by the run. */
static size_t pass_bulk(struct resp_guard *g, size_t n)
{
    if (n > g->bulk_left)
        n = g->bulk_left;
    g->bulk_left -= n;
    if (g->bulk_left == 0)
        g->at = RESP_AT_BULK_CR;
    return n;
}

/* Counted at the end of each run of bytes would depend on how they are cut: so byte by byte, and by what a
 * text announces. A reply that is one text is bounded by lone_bytes_max alone. */
static bool is_too_long(struct resp_guard *g, size_t n)
{
    g->reply_bytes += n;
    return g->depth > 0 && g->reply_bytes > g->limits.reply_bytes_max;
}

enum resp_verdict resp_guard_scan(struct resp_guard *g, struct slice bytes, size_t *out_used)
{
    size_t i = 0;

    while (i < bytes.len && g->at != RESP_SPOILT) {
        int r = GO_ON;

        if (g->at == RESP_IN_BULK) {
            i += pass_bulk(g, bytes.len - i);
            continue;
        }
        r = on_byte(g, bytes.data[i++]);
        if (r == GO_ON && is_too_long(g, g->at == RESP_IN_BULK ? 1 + g->bulk_left : 1))
            r = RESP_BAD;
        if (r == RESP_BAD)
            g->at = RESP_SPOILT;
        if (r != GO_ON) {
            *out_used = i;
            return (enum resp_verdict)r;
        }
    }
    *out_used = i;
    return g->at == RESP_SPOILT ? RESP_BAD : RESP_MORE;
}
