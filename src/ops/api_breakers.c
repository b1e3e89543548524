/* /breakers: every breaker's state, and an operator's word on one. SPEC section 9. */
#include "api.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/breakers.h"
#include "refrain/wire/jscan.h"

static void write_state(struct jout *j, const struct breakers_state *s)
{
    bool is_availability = s->kind == BREAKERS_AVAILABILITY;

    jout_object(j, NULL);
    jout_str(j, "upstream", s->upstream);
    jout_str(j, "kind", breakers_kind_name(s->kind));
    if (is_availability)
        jout_text(j, "model", s->model);
    jout_str(j, "state", breakers_state_name(s->state));
    jout_str(j, "cause", s->cause[0] ? s->cause : NULL);
    jout_milli(j, "for_s", s->for_ms);
    if (s->next_probe_ms >= 0)
        jout_milli(j, "next_probe_s", s->next_probe_ms);
    else
        jout_null(j, "next_probe_s");
    jout_int(j, "failed", s->failed);
    if (is_availability)
        jout_int(j, "calls", s->calls);
    else
        jout_int(j, "level", s->level);
    jout_bool(j, "held", s->held);
    jout_end(j);
}

struct listing {
    struct jout j;
    struct slice upstream; /* of which; data is NULL: all */
    const enum breakers_kind *kind;
};

static void on_breaker(void *arg, const struct breakers_state *s)
{
    struct listing *l = arg;

    if (l->upstream.data && !slice_eq(l->upstream, slice_str(s->upstream)))
        return;
    if (!l->kind || *l->kind == s->kind)
        write_state(&l->j, s);
}

static void answer_states(struct api_call *c, struct slice upstream, const enum breakers_kind *kind)
{
    struct listing l = {jout_begin(c->out), upstream, kind};

    jout_object(&l.j, NULL);
    jout_array(&l.j, "breakers");
    breakers_each(c->parts.breakers, clock_mono_ms(), on_breaker, &l);
    jout_end(&l.j);
    jout_end(&l.j);
    api_done(c, &l.j);
}

void api_breakers_list(struct api_call *c)
{
    answer_states(c, (struct slice){NULL, 0}, NULL);
}

static bool read_kind(struct slice text, enum breakers_kind *out)
{
    static const enum breakers_kind kinds[] = {BREAKERS_VALIDATION, BREAKERS_AVAILABILITY};

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (slice_eq(text, slice_str(breakers_kind_name(kinds[i])))) {
            *out = kinds[i];
            return true;
        }
    return false;
}

static bool read_action(struct slice body, enum breaker_command *out)
{
    static const struct {
        struct slice name;
        enum breaker_command command;
    } actions[] = {
        {SLICE("open"), BREAKER_FORCE_OPEN},
        {SLICE("close"), BREAKER_FORCE_CLOSE},
        {SLICE("reset"), BREAKER_RESET},
    };
    struct slice action;

    if (!jscan_valid(body) || jscan_member(body, SLICE_OF("action"), &action) != JSCAN_STRING)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (slice_eq(action, actions[i].name)) {
            *out = actions[i].command;
            return true;
        }
    return false;
}

void api_breakers_command(struct api_call *c)
{
    enum breaker_command command;
    enum breakers_kind kind;

    if (!read_kind(c->args[1], &kind)) {
        api_fail(c, 404, "not_found", "there is no such kind of breaker", "path",
                 "validation or availability");
        return;
    }
    if (!read_action(c->body, &command)) {
        api_fail(c, 400, "request_invalid", "the body does not say what to do", "body",
                 "{\"action\": \"open\"}, or \"close\", or \"reset\"");
        return;
    }
    if (breakers_command(c->parts.breakers, c->args[0], kind, command, clock_mono_ms()))
        answer_states(c, c->args[0], &kind);
    else
        api_fail(c, 404, "not_found", "there is no such upstream", "path",
                 "an upstream that GET " API_ROOT "/breakers names");
}
