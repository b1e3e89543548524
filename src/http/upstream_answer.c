#include "upstream_priv.h"

/* Of one answer in one turn: judging so much takes a millisecond at most. libcurl 8 sees to it itself;
 * before, it read on a hundred times 16 KiB. */
enum { TURN_BYTES_MAX = 128 * 1024 };

/* false: this try's answer is nobody's. */
static bool tell_head(struct upstream_call *c)
{
    struct fields *fields = &c->pool->fields;

    answer_head_fields(&c->head, fields);
    if (call_wants_again(c, UPSTREAM_OK, "", fields))
        return false;
    c->head_told = true;
    c->events.on_head(c->arg, c->head.status, fields);
    return true;
}

/* An answer that comes before the body is out may be the end of the matter: then the library sends no more of
 * it, but would wait for a pause to end. Where it is not, the body's reader is merely asked once more, and
 * pauses again. */
static void note_progress(struct upstream_call *c)
{
    if (c->stage == CALL_ANSWERING)
        call_touch(c);
    else
        call_enter(c, CALL_ANSWERING);
    if (c->send_paused)
        upstream_body_ready(c);
}

size_t call_on_header_line(char *bytes, size_t one, size_t n, void *arg)
{
    struct upstream_call *c = arg;
    size_t len = one * n;

    if (c->want_end)
        return 0; /* not @len: the library stops */
    note_progress(c);
    switch (answer_head_line(&c->head, slice_make(bytes, len))) {
    case ANSWER_MORE:
        return len;
    case ANSWER_HEAD:
        if (!tell_head(c))
            return 0;
        if (!c->ends_at_head)
            return c->want_end ? 0 : len;
        call_judge(c, UPSTREAM_OK, "");
        return 0;
    case ANSWER_BAD:
        break;
    }
    call_judge(c, c->head_told ? UPSTREAM_CUT : UPSTREAM_PROTOCOL, c->head.why);
    return 0;
}

static bool is_out_of_breath(struct upstream_call *c, size_t n)
{
    if (c->turn != c->pool->turns)
        c->turn_bytes = 0;
    c->turn = c->pool->turns;
    c->turn_bytes += n;
    return c->turn_bytes > TURN_BYTES_MAX && c->turn_bytes > n;
}

size_t call_on_body(char *bytes, size_t one, size_t n, void *arg)
{
    struct upstream_call *c = arg;
    size_t len = one * n;

    if (c->want_end)
        return CURL_WRITEFUNC_ERROR;
    note_progress(c);
    if (!c->pool->multiplexes && is_out_of_breath(c, len)) {
        call_take_a_breath(c);
        return CURL_WRITEFUNC_PAUSE;
    }
    if (!c->events.on_body(c->arg, slice_make(bytes, len))) {
        c->recv_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (c->want_end)
        return CURL_WRITEFUNC_ERROR;
    c->body_got += (int64_t)len;
    return len;
}

/* The library lets some torn messages pass: a head without its empty line, a length out of its range. */
static enum upstream_result whole_or_not(struct upstream_call *c, const char **why)
{
    if (!c->head_told) {
        *why = "closed before a whole head";
        return UPSTREAM_PROTOCOL;
    }
    if (c->head.length >= 0 && c->head.length != c->body_got &&
        !answer_head_is_bodyless(&c->head, c->is_head)) {
        *why = "the body is shorter than announced";
        return UPSTREAM_CUT;
    }
    if (c->head.in_trailers && c->events.on_trailers) {
        answer_head_fields(&c->head, &c->pool->fields);
        c->events.on_trailers(c->arg, &c->pool->fields);
    }
    return UPSTREAM_OK;
}

/* What the library names in forty ways comes down to how far the call had got. */
enum upstream_result call_result(struct upstream_call *c, CURLcode code, const char **why)
{
    *why = c->why;
    if (c->is_judged)
        return c->verdict;
    if (code == CURLE_OK)
        return whole_or_not(c, why);
    *why = c->error[0] ? c->error : curl_easy_strerror(code);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return UPSTREAM_TIMEOUT;
    if (c->head_told)
        return UPSTREAM_CUT;
    return c->attempts ? UPSTREAM_PROTOCOL : UPSTREAM_UNREACHABLE;
}
