/* /breakers: every breaker's state, of upstreams and of tiers, and an operator's word on one. SPEC section 9.
 */
#include "api.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/breakers.h"
#include "refrain/http/site.h"
#include "refrain/store/tier_breaker.h"
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

/* -- of tiers: a plain one each -- */

static const char kind_of_tiers[] = "tier";

static const char *const tier_words[] = {
    [TIER_BREAKER_CLOSED] = "closed", [TIER_BREAKER_HALF_OPEN] = "half_open", [TIER_BREAKER_OPEN] = "open"};

static void write_tier(struct jout *j, struct tier *t)
{
    struct tier_breaker_state s;

    tier_breaker_look(t, &s);
    jout_object(j, NULL);
    jout_str(j, "tier", t->ops->name);
    jout_str(j, "kind", kind_of_tiers);
    jout_str(j, "state", tier_words[s.is]);
    jout_str(j, "cause", s.opened == 0 ? NULL : tier_result_name(s.cause));
    jout_milli(j, "for_s", clock_mono_ms() - s.since_ms);
    if (s.is == TIER_BREAKER_CLOSED || s.forced)
        jout_null(j, "next_probe_s");
    else
        jout_milli(j, "next_probe_s", s.probe_in_ms);
    jout_int(j, "failed", s.failures);
    jout_int(j, "refused", (int64_t)s.refused);
    jout_bool(j, "held", s.forced);
    jout_end(j);
}

/* NULL: there is none of that name. */
static struct tier *tier_named(const struct store *s, struct slice name)
{
    for (size_t i = 0; i < store_lower_n(s); i++)
        if (slice_eq(name, slice_str(store_lower(s, i)->ops->name)))
            return store_lower(s, i);
    return NULL;
}

static void answer_tier(struct api_call *c, struct tier *t)
{
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    jout_array(&j, "breakers");
    write_tier(&j, t);
    jout_end(&j);
    jout_end(&j);
    api_done(c, &j);
}

/* -- all, and those of upstreams -- */

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
    for (size_t i = 0; !upstream.data && i < store_lower_n(c->site->store); i++)
        write_tier(&l.j, store_lower(c->site->store, i));
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

static void command_tier(struct api_call *c, enum breaker_command command)
{
    static const enum tier_breaker_order orders[] = {
        [BREAKER_FORCE_OPEN] = TIER_BREAKER_DO_OPEN,
        [BREAKER_FORCE_CLOSE] = TIER_BREAKER_DO_CLOSE,
        [BREAKER_RESET] = TIER_BREAKER_DO_RESET,
    };
    struct tier *t = tier_named(c->site->store, c->args[0]);

    if (!t) {
        api_fail(c, 404, "not_found", "there is no such tier", "path",
                 "a tier below memory that GET " API_ROOT "/breakers names");
        return;
    }
    tier_breaker_order(t, orders[command]);
    answer_tier(c, t);
}

void api_breakers_command(struct api_call *c)
{
    bool of_tier = slice_eq(c->args[1], slice_str(kind_of_tiers));
    enum breaker_command command;
    enum breakers_kind kind = BREAKERS_VALIDATION;

    if (!of_tier && !read_kind(c->args[1], &kind)) {
        api_fail(c, 404, "not_found", "there is no such kind of breaker", "path",
                 "validation, availability or tier");
        return;
    }
    if (!read_action(c->body, &command)) {
        api_fail(c, 400, "request_invalid", "the body does not say what to do", "body",
                 "{\"action\": \"open\"}, or \"close\", or \"reset\"");
        return;
    }
    if (of_tier)
        command_tier(c, command);
    else if (breakers_command(c->parts.breakers, c->args[0], kind, command, clock_mono_ms()))
        answer_states(c, c->args[0], &kind);
    else
        api_fail(c, 404, "not_found", "there is no such upstream", "path",
                 "an upstream that GET " API_ROOT "/breakers names");
}
