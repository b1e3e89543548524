#include "refrain/ops/recommend.h"

#include <inttypes.h>
#include <stdio.h>

#include "refrain/base/attr.h"
#include "refrain/policy/gate.h"
#include "window.h"

/*
 * A row looks at the last hour and at configuration; where its condition holds it writes the sentences. So
 * much must have happened before anything is said:
 */
enum {
    HOUR_MS = 3600000,
    SOME = 10,    /* answers that were not stored, writes given up, calls that failed */
    MANY = 100,   /* requests, entries, tokens: what a share is worth telling of */
    DOWN_N = 100, /* readings running: six minutes, as they are usually taken */
    MIB = 1 << 20,
};

struct look {
    const struct history *history;
    const struct facts *facts;
    struct window w;
    struct window_requests requests;
    struct recommendation *out;
};

/* One sentence; what is too long is cut. */
#define SAY(field, ...) ((void)snprintf(l->out->field, sizeof(l->out->field), __VA_ARGS__))

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part * 100.0 / (double)whole : 0;
}

static uint64_t not_stored(const struct look *l, enum gate_reason r)
{
    return WINDOW_COUNT(&l->w, not_stored[r]);
}

/* Several, and of the answers that upstream was asked for no small part: a tenth. */
static bool is_much(const struct look *l, uint64_t n)
{
    return n >= SOME && n * 10 >= l->requests.misses;
}

static uint64_t mib(uint64_t bytes)
{
    return (bytes + MIB - 1) / MIB;
}

static uint64_t typical_ms(const struct look *l)
{
    uint64_t n;

    return (uint64_t)window_p95_ns(l->history, &l->w, HISTORY_MISS, &n) / 1000000;
}

/* -- room -- */

static bool tier_is_small(struct look *l, enum metric_tier tier, uint64_t limit, const char *name)
{
    const struct reading_tier *t = &l->w.now->tiers[tier];
    uint64_t gone = WINDOW_COUNT(&l->w, tiers[tier].evicted_for_space);

    if (!t->on || gone < SOME || gone * 20 < l->requests.misses)
        return false;
    SAY(change, "to %" PRIu64 " MiB, twice what it is", mib(limit) * 2);
    SAY(evidence,
        "%" PRIu64 " answers had to go from %s for want of room, beside %" PRIu64 " misses; it holds %" PRIu64
        " entries, %" PRIu64 " of %" PRIu64 " MiB",
        gone, name, l->requests.misses, t->entries, mib(t->bytes), mib(t->limit_bytes));
    SAY(impact,
        "answers stay until their lifetime ends; one that is asked for again takes upstream up to %" PRIu64
        " ms (p95)",
        typical_ms(l));
    return true;
}

static bool look_memory_small(struct look *l)
{
    return tier_is_small(l, TIER_MEMORY, l->facts->memory_bytes_max, "memory");
}

static bool look_disk_small(struct look *l)
{
    return tier_is_small(l, TIER_DISK, l->facts->disk_bytes_max, "disk");
}

static bool look_compress_memory(struct look *l)
{
    double ratio = (double)l->w.now->compression_nano / 1e9;
    uint64_t gone = WINDOW_COUNT(&l->w, tiers[TIER_MEMORY].evicted_for_space);

    if (l->facts->compression_memory || ratio < 1.5 || gone < SOME)
        return false;
    SAY(change, "to true");
    SAY(evidence,
        "answers that were compressed for the tiers below took %.1f times less, while %" PRIu64
        " had to go from memory for want of room",
        ratio, gone);
    SAY(impact,
        "memory holds up to %.1f times as many; clients that take no gzip wait a little for the first of "
        "each",
        ratio);
    return true;
}

static bool look_compression_off(struct look *l)
{
    uint64_t gone = WINDOW_COUNT(&l->w, tiers[TIER_DISK].evicted_for_space);

    if (l->facts->compression_level > 0 || gone < SOME)
        return false;
    SAY(change, "to 6");
    SAY(evidence, "%" PRIu64 " answers had to go from disk for want of room, and none is compressed", gone);
    SAY(impact, "JSON and text usually take a third of the room");
    return true;
}

static bool look_compression_poor(struct look *l)
{
    double ratio = (double)l->w.now->compression_nano / 1e9;
    bool lower = l->w.now->tiers[TIER_DISK].on || l->w.now->tiers[TIER_REDIS].on;

    if (!lower || l->facts->compression_level == 0 || ratio == 0 || ratio >= 1.4 || l->requests.misses < SOME)
        return false;
    SAY(change, "to off, or compression.threshold higher");
    SAY(evidence, "what was compressed took %.2f times the room before, little more than after", ratio);
    SAY(impact, "saves the processor's time that goes into it");
    return true;
}

/* -- what is not stored -- */

static bool look_too_large(struct look *l)
{
    uint64_t n = not_stored(l, GATE_TOO_LARGE);

    if (!is_much(l, n))
        return false;
    SAY(change, "to %" PRIu64 " MiB, four times what it is", mib(l->facts->object_bytes_max * 4));
    SAY(evidence,
        "%" PRIu64 " answers were larger than %" PRIu64 " KiB and not stored, %.0f %% of %" PRIu64 " misses",
        n, l->facts->object_bytes_max >> 10, share(n, l->requests.misses), l->requests.misses);
    SAY(impact, "they are answered from the cache when they are asked for again");
    return true;
}

static bool look_finish_reason(struct look *l)
{
    uint64_t n = not_stored(l, GATE_FINISH_REASON);

    if (!is_much(l, n))
        return false;
    SAY(change,
        "to {length: 1h}, if answers that end at the token limit are good enough; or have clients ask for "
        "more tokens");
    SAY(evidence,
        "%" PRIu64
        " answers were not stored for how they ended (length, content_filter, refusal …), %.0f %% of "
        "%" PRIu64 " misses",
        n, share(n, l->requests.misses), l->requests.misses);
    SAY(impact, "up to %.0f %% of what is now asked of upstream can be stored", share(n, l->requests.misses));
    return true;
}

static bool look_rule(struct look *l)
{
    uint64_t n = not_stored(l, GATE_RULE);

    if (!is_much(l, n))
        return false;
    SAY(change, "so that fewer requests match those that say `off` or `read-only`");
    SAY(evidence,
        "%" PRIu64 " answers were not stored because a rule says so, %.0f %% of %" PRIu64
        " misses and %" PRIu64 " bypasses",
        n, share(n, l->requests.misses + l->requests.passed), l->requests.misses, l->requests.passed);
    SAY(impact, "`refrain explain` with such a request names the rule");
    return true;
}

static bool look_client(struct look *l)
{
    uint64_t n = not_stored(l, GATE_CLIENT);

    if (!is_much(l, n) || !l->facts->client_control)
        return false;
    SAY(change, "to false, if clients should not decide");
    SAY(evidence,
        "%" PRIu64
        " answers were not stored because requests forbade it (Refrain-Cache: read-only and the like)",
        n);
    SAY(impact, "what requests ask of the cache is then not heeded, of nobody");
    return true;
}

static bool look_no_lifetime(struct look *l)
{
    uint64_t n = not_stored(l, GATE_NO_LIFETIME);

    if (!is_much(l, n))
        return false;
    SAY(change, "to 5m on the route they take, or heuristic: true");
    SAY(evidence,
        "%" PRIu64 " answers to GET were not stored because upstream says nothing of their lifetime", n);
    SAY(impact, "they are answered from the cache for as long as the route says");
    return true;
}

static bool look_cache_control(struct look *l)
{
    uint64_t n = not_stored(l, GATE_CACHE_CONTROL);

    if (!is_much(l, n) || !l->facts->respect_cache_control)
        return false;
    SAY(change, "to false");
    SAY(evidence, "%" PRIu64 " answers were not stored because upstream's Cache-Control forbids it", n);
    SAY(impact, "answers to POST are stored as rules say; to GET, upstream's word stays law");
    return true;
}

static const struct fact_breaker *validation_breaker(const struct facts *f)
{
    for (size_t i = 0; i < f->breakers_n; i++)
        if (f->breakers[i].kind == BREAKERS_VALIDATION)
            return &f->breakers[i];
    return NULL;
}

static bool look_broken(struct look *l)
{
    const struct fact_breaker *b = validation_breaker(l->facts);

    if (!b)
        return false;
    SAY(change,
        "only if these answers are good after all: see what upstream sends, then refrain breakers reset %s "
        "validation",
        b->upstream);
    SAY(evidence, "%s: %s; %" PRIu64 " answers were not stored for that", b->upstream, b->cause,
        not_stored(l, GATE_BREAKER));
    SAY(impact, "nothing of this upstream is stored until it is closed");
    return true;
}

/* -- what is not found -- */

static bool look_ttl(struct look *l)
{
    uint64_t gone = WINDOW_COUNT(&l->w, tiers[TIER_MEMORY].expired);

    if (gone < MANY || gone * 2 < l->requests.misses || l->facts->default_ttl_s <= 0)
        return false;
    SAY(change,
        "to %" PRId64 " s, four times what it is, or longer for the operations that bear it (cache.ttl)",
        l->facts->default_ttl_s * 4);
    SAY(evidence,
        "the lifetime of %" PRIu64 " answers has ended, beside %" PRIu64 " misses; it is %" PRId64
        " s where nothing else is said",
        gone, l->requests.misses, l->facts->default_ttl_s);
    SAY(impact, "of the misses, those whose answer had run out become hits");
    return true;
}

static bool look_memo(struct look *l)
{
    uint64_t made = WINDOW_COUNT(&l->w, memo_misses), known = WINDOW_COUNT(&l->w, memo_hits);

    /* Whoever asks for the first time has to have a key made; of those who are answered nobody should. */
    if (l->requests.answered < MANY || made < l->requests.misses + l->requests.answered / 2)
        return false;
    SAY(change,
        "nothing here: have clients write the same request the same way (order of members, white space, "
        "ids in headers)");
    SAY(evidence,
        "%" PRIu64 " of %" PRIu64 " keys had to be made anew, though only %" PRIu64
        " requests were misses: what is asked is the same, the bytes are not",
        made, made + known, l->requests.misses);
    SAY(impact, "a hit whose bytes are known takes a fraction of the processor's time");
    return true;
}

static const struct fact_difference *difference(const struct facts *f, enum fact_part part)
{
    for (size_t i = 0; i < f->differences_n; i++)
        if (f->differences[i].part == part)
            return &f->differences[i];
    return NULL;
}

static bool differs(struct look *l, enum fact_part part, const char *what)
{
    const struct fact_difference *d = difference(l->facts, part);

    if (!d || d->n < SOME)
        return false;
    SAY(change, "to [%s], if it has no part in what is answered", d->name);
    SAY(evidence, "%u of the last %u requests that were keyed differ from another one in the %s %s alone",
        d->n, l->facts->compared, what, d->name);
    SAY(impact, "each of them could have been a hit");
    return true;
}

static bool look_field(struct look *l)
{
    return differs(l, FACT_FIELD, "field");
}

static bool look_header(struct look *l)
{
    return differs(l, FACT_HEADER, "header");
}

static bool look_scope(struct look *l)
{
    const struct fact_difference *d = difference(l->facts, FACT_CREDENTIAL);

    if (!d || d->n < SOME || l->facts->scope_shared)
        return false;
    SAY(change, "to shared, if those who ask are one team that may see each other's answers");
    SAY(evidence,
        "%u of the last %u requests that were keyed differ from another one in the credential alone", d->n,
        l->facts->compared);
    SAY(impact, "each of them could have been a hit");
    return true;
}

static bool look_coalescing(struct look *l)
{
    uint64_t twice = WINDOW_COUNT(&l->w, tiers[TIER_MEMORY].replaced);

    if (l->facts->coalescing || twice < SOME)
        return false;
    SAY(change, "to true");
    SAY(evidence, "%" PRIu64 " answers were stored in place of one to the same request", twice);
    SAY(impact, "requests that come while the same is being asked share that call, and its bill");
    return true;
}

/* -- what is lost -- */

static bool look_no_disk(struct look *l)
{
    const struct reading_tier *m = &l->w.now->tiers[TIER_MEMORY];

    if (!m->on || l->w.now->tiers[TIER_DISK].on || l->w.now->tiers[TIER_REDIS].on || m->entries < MANY)
        return false;
    SAY(change, "to a file on a local disk, such as /var/lib/refrain/cache.db");
    SAY(evidence, "%" PRIu64 " answers (%" PRIu64 " MiB) are in memory alone", m->entries, mib(m->bytes));
    SAY(impact, "a restart loses them all: as many calls to upstream again");
    return true;
}

static bool look_redis_down(struct look *l)
{
    size_t n = 0;

    if (!l->w.now->tiers[TIER_REDIS].on)
        return false;
    while (n < history_n(l->history) && !history_at(l->history, n)->tiers[TIER_REDIS].up)
        n++;
    if (n < DOWN_N)
        return false;
    SAY(change, "to where it is, or take it out");
    SAY(evidence, "Redis has not answered for the last %" PRId64 " s, in %zu readings running",
        (l->w.now->mono_ms - history_at(l->history, n - 1)->mono_ms) / 1000, n);
    SAY(impact, "instances do not share answers, nor hear what others invalidate");
    return true;
}

static bool look_queue(struct look *l)
{
    uint64_t n = WINDOW_COUNT(&l->w, writes_dropped);

    if (n < SOME)
        return false;
    SAY(change,
        "to %" PRIu64 " MiB, twice what it is; or tiers.write: behind, which writes only the last of several",
        mib(l->facts->queue_bytes_max) * 2);
    SAY(evidence, "%" PRIu64 " writes to disk or Redis were given up; %" PRIu64 " KiB wait", n,
        l->w.now->write_queue_bytes >> 10);
    SAY(impact, "these answers are in memory alone, and gone with it");
    return true;
}

static bool look_connections(struct look *l)
{
    uint64_t n = WINDOW_COUNT(&l->w, connections_refused);
    unsigned limit = l->facts->connections_max, each = l->facts->connections_per_address_max;

    if (n < SOME)
        return false;
    SAY(change,
        each ? "to %u, twice what it is; of one address %u are let in (max_connections_per_address)"
             : "to %u, twice what it is",
        limit * 2, each);
    SAY(evidence, "%" PRIu64 " client connections were refused; %" PRIu64 " are open, %u may be", n,
        l->w.now->connections, limit);
    SAY(impact, "their requests failed");
    return true;
}

static bool look_stale_if_error(struct look *l)
{
    uint64_t failed = WINDOW_COUNT(&l->w, upstream_failures), calls = WINDOW_COUNT(&l->w, upstream_calls);

    if (l->facts->stale_if_error_s > 0 || failed < SOME)
        return false;
    SAY(change, "to 1d");
    SAY(evidence,
        "%" PRIu64 " of %" PRIu64 " calls to upstream failed, and nothing may be answered past its lifetime",
        failed, calls);
    SAY(impact, "who asks for what was stored gets that, instead of upstream's error");
    return true;
}

static bool look_pricing(struct look *l)
{
    uint64_t tokens = WINDOW_COUNT(&l->w, tokens_saved_in) + WINDOW_COUNT(&l->w, tokens_saved_out);

    if (l->facts->priced || tokens < MANY)
        return false;
    SAY(change, "with what your models cost (config/pricing.yaml is a sample)");
    SAY(evidence, "%" PRIu64 " tokens were saved, and no model has a price", tokens);
    SAY(impact, "savings are told in money, too");
    return true;
}

/* -- the rows -- */

static const struct row {
    const char *code, *title, *option, *when;
    bool (*look)(struct look *l);
} rows[] = {
    {"memory_small", "Give memory more room", "tiers.memory.max_bytes",
     "answers had to go for want of room: ten, and one for twenty misses", look_memory_small},
    {"disk_small", "Give the disk tier more room", "tiers.disk.max_bytes", "the same of the disk tier",
     look_disk_small},
    {"compress_memory", "Compress answers in memory", "compression.memory",
     "answers had to go from memory, and those below are compressed to two thirds or less",
     look_compress_memory},
    {"compression_off", "Compress answers", "compression.level",
     "answers had to go from disk, and none is compressed", look_compression_off},
    {"compression_poor", "Do not compress what does not get smaller", "compression.level",
     "what is compressed loses less than three tenths, as images and audio do", look_compression_poor},
    {"too_large", "Store larger answers", "cache.max_object_bytes",
     "ten answers were too large, a tenth of the misses", look_too_large},
    {"finish_reason", "Store answers that end otherwise", "validation.finish_reasons",
     "ten answers were not stored for how they ended, a tenth of the misses", look_finish_reason},
    {"rule", "Let rules exclude less", "rules",
     "ten answers were not stored by a rule, a tenth of the misses", look_rule},
    {"client_forbids", "Do not let requests forbid storing", "cache.client_control",
     "ten answers were not stored because of the request, a tenth of the misses", look_client},
    {"no_lifetime", "Give answers to GET a lifetime", "routes.ttl",
     "ten answers told no lifetime, a tenth of the misses", look_no_lifetime},
    {"cache_control", "Do not heed upstream's Cache-Control", "cache.respect_upstream_cache_control",
     "it is heeded on POST, and has kept ten answers out, a tenth of the misses", look_cache_control},
    {"broken_answers", "See what upstream sends", "upstreams.NAME.breaker.validation",
     "a validation breaker is open", look_broken},
    {"ttl_short", "Let answers live longer", "cache.default_ttl",
     "a hundred answers ran out, one for two misses", look_ttl},
    {"bytes_differ", "Write the same request the same way", "key.ignore_headers",
     "most hits had to have their key made anew", look_memo},
    {"field_differs", "Leave a field out of keys", "key.ignore_fields",
     "ten recent requests differ from another in one field alone that looks like an id", look_field},
    {"header_differs", "Leave a header out of keys", "key.ignore_headers",
     "ten recent requests differ from another in one header alone", look_header},
    {"scope", "Let credentials share answers", "cache.scope",
     "ten recent requests differ from another in the credential alone", look_scope},
    {"coalescing_off", "Let identical requests share a call", "coalescing.enabled",
     "it is off, and ten answers were stored in place of one to the same request", look_coalescing},
    {"no_disk", "Keep answers over a restart", "tiers.disk.path",
     "there is no tier below memory, which holds a hundred answers", look_no_disk},
    {"redis_down", "Mend Redis, or take it out", "tiers.redis.url",
     "it has not answered in a hundred readings running", look_redis_down},
    {"queue_full", "Let more writes wait", "tiers.write_queue_max_bytes",
     "ten writes to tiers below memory were given up", look_queue},
    {"connections", "Let more clients in", "listen.max_connections", "ten connections were refused",
     look_connections},
    {"stale_if_error", "Answer past the lifetime while upstream fails", "cache.stale_if_error",
     "it is off, and ten calls failed", look_stale_if_error},
    {"pricing", "Say what models cost", "pricing", "a hundred tokens were saved, and nothing has a price",
     look_pricing},
};
_Static_assert(ARRAY_LEN(rows) <= RECOMMENDATIONS_MAX, "room for every row");

size_t recommend(const struct history *h, const struct facts *now,
                 struct recommendation out[RECOMMENDATIONS_MAX])
{
    struct look l = {.history = h, .facts = now};
    size_t n = 0;

    if (history_n(h) == 0)
        return 0;
    l.w = window_of(h, HOUR_MS);
    l.requests = window_requests(&l.w);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        out[n] =
            (struct recommendation){.code = rows[i].code, .title = rows[i].title, .option = rows[i].option};
        l.out = &out[n];
        n += rows[i].look(&l);
    }
    return n;
}

size_t recommendations_n(void)
{
    return ARRAY_LEN(rows);
}

struct recommendation_about recommendation_about(size_t i)
{
    return (struct recommendation_about){rows[i].code, rows[i].title, rows[i].option, rows[i].when};
}
