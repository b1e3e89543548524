#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_priv.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/policy/pricing.h"
#include "refrain/store/seal.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"
#include "refrain/wire/redact.h"
#include "refrain/wire/tally.h"

/* Values against each other: what cannot be served is an error, what is merely unwise a warning. The larger
 * groups of options have a file each. */

/* -- what they all say it by -- */

const struct origin *judge_origin(const struct loading *l, const char *name)
{
    return &entry_of(l->conf, name)->origin;
}

void judge_warn(struct loading *l, const char *name, const char *what)
{
    report_warning(l->report, judge_origin(l, name), name, "%s", what);
}

void judge_fail(struct loading *l, const char *name, const char *what)
{
    report_error(l->report, judge_origin(l, name), name, "%s", what);
}

void judge_file(struct loading *l, const char *name, const char *path)
{
    if (path && access(path, R_OK) < 0)
        report_warning(l->report, judge_origin(l, name), name, "%s cannot be read here", path);
}

void judge_nearest(const char *wrote, const char *candidate, struct judge_guess *guess)
{
    unsigned distance;

    if (text_is_near(slice_str(wrote), slice_str(candidate), &distance) &&
        (!guess->name || distance < guess->distance))
        *guess = (struct judge_guess){candidate, distance};
}

void judge_unknown(struct loading *l, const char *name, const char *what, const char *wrote,
                   const struct judge_guess *guess)
{
    const char *meant = guess->name;

    report_error(l->report, judge_origin(l, name), name, "no %s is named %s%s%s%s", what, wrote,
                 meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

/* -- listeners -- */

static void judge_listeners(struct loading *l)
{
    static const char exposed[] =
        "whoever reaches the listener is given stored answers, whatever credential they bring";
    const struct config *c = l->conf;
    struct address listen, admin;

    if (address_parse(slice_str(c->listen.address), &listen) < 0 ||
        address_parse(slice_str(c->admin.address), &admin) < 0)
        return; /* defaults parse, and what was given was checked */
    if (strcmp(c->listen.address, c->admin.address) == 0 &&
        !slice_ends(slice_str(c->admin.address), SLICE_OF(":0")))
        judge_fail(l, "admin.address", "the same as listen.address; they need one each");
    if (!address_is_local(&admin) && !c->admin.token.text)
        judge_fail(l, "admin.address",
                   "reachable from other machines, so admin.token or admin.token_file must be given");
    if (c->admin.token.text && strlen(c->admin.token.text) < 16)
        judge_warn(l, "admin.token", "shorter than 16 characters: easily guessed");
    if (address_is_local(&listen) || c->clients_n > 0)
        return;
    if (c->cache.scope == SCOPE_SHARED)
        judge_warn(l, "cache.scope", exposed);
    for (size_t i = 0; i < c->rules_n; i++)
        if (c->rules[i].scope_given && c->rules[i].scope == SCOPE_SHARED)
            judge_warn(l, pool_printf(l->pool, "rules[%zu].scope", i), exposed);
}

/* -- who shares entries -- */

/* A header by such a name hardly exists, and where it does not, everybody would share everything. */
static bool is_slip_of(struct slice wrote, struct slice word)
{
    unsigned distance;

    return slice_ieq(wrote, word) || text_is_near(wrote, word, &distance);
}

static void judge_scope_header(struct loading *l, const char *name, struct slice header)
{
    static const char *const words[] = {"credential", "shared"};

    if (!header_name_ok(header))
        report_error(l->report, judge_origin(l, name), name,
                     "expected credential, shared or a list of header names, got %s", header.data);
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (is_slip_of(header, slice_str(words[i])))
            report_error(l->report, judge_origin(l, name), name,
                         "%s would be the header that tells callers apart; did you mean %s?", header.data,
                         words[i]);
}

enum cache_scope judge_scope(struct loading *l, const char *name, struct text_list *list)
{
    enum cache_scope scope = SCOPE_HEADERS;

    for (size_t i = 0; i < list->n; i++) {
        bool is_word =
            slice_eq(list->at[i], SLICE_OF("credential")) || slice_eq(list->at[i], SLICE_OF("shared"));

        if (is_word && list->n == 1)
            scope = slice_eq(list->at[i], SLICE_OF("shared")) ? SCOPE_SHARED : SCOPE_CREDENTIAL;
        else if (is_word)
            report_error(l->report, judge_origin(l, name), name,
                         "expected credential, shared or a list of header names, got %s", list->at[i].data);
        else
            judge_scope_header(l, name, list->at[i]);
    }
    if (scope != SCOPE_HEADERS)
        list->n = 0;
    return scope;
}

static void judge_cache_scope(struct loading *l)
{
    struct cache_conf *c = &l->conf->cache;

    if (c->scope_headers.n == 0)
        judge_fail(l, "cache.scope",
                   "expected credential, shared or a list of header names, got an empty list");
    c->scope = judge_scope(l, "cache.scope", &c->scope_headers);
}

/* -- what is stored -- */

/* An operator may know better, of an operation of his own: no error. */
static void judge_ignored_fields(struct loading *l)
{
    const struct text_list *fields = &l->conf->key.ignore_fields;

    for (size_t i = 0; i < fields->n; i++)
        if (canon_is_asked(fields->at[i]))
            report_warning(l->report, judge_origin(l, "key.ignore_fields"), "key.ignore_fields",
                           "%s is what is asked: requests that differ in it alone would be given each "
                           "other's answers",
                           fields->at[i].data);
}

static void judge_lifetimes(struct loading *l)
{
    const struct cache_conf *c = &l->conf->cache;

    if (c->default_ttl_s > c->max_ttl_s)
        judge_warn(l, "cache.default_ttl",
                   "longer than cache.max_ttl, which bounds what requests ask for, not this");
    if (c->ttl_mode == TTL_SLIDING && c->default_ttl_s >= c->max_lifetime_s)
        judge_warn(l, "cache.max_lifetime", "not longer than cache.default_ttl, so nothing slides");
    for (size_t i = 0; i < c->ttl_n; i++) {
        enum operation op = operation_by_name(slice_str(c->ttl[i].name));

        if ((op == OP_COUNT || op == OP_PASS) && !config_operation(l->conf, c->ttl[i].name))
            report_warning(l->report, judge_origin(l, "cache.ttl"), "cache.ttl",
                           "%s is no operation that is known, so nothing has this lifetime", c->ttl[i].name);
    }
}

/* One of the names by which answers end, as far as any API that is known is concerned. */
static struct slice finish_name(size_t i)
{
    if (i < FINISH_KIND_COUNT)
        return slice_str(finish_kind_name((enum finish_kind)i));
    i -= FINISH_KIND_COUNT;
    for (enum operation op = 0; op < OP_COUNT; i -= dialect_of(op)->finishes_n, op++)
        if (i < dialect_of(op)->finishes_n)
            return dialect_of(op)->finishes[i].text;
    return (struct slice){NULL, 0};
}

/* APIs bring new words at any time, so one that is not known is no fault; but it may be a slip. */
static void judge_finish_name(struct loading *l, const char *wrote)
{
    struct slice best = {NULL, 0}, name;
    unsigned least = UINT_MAX, distance;

    for (size_t i = FINISH_NONE + 1; (name = finish_name(i)).data; i++) {
        if (slice_ieq(name, slice_str(wrote)))
            return;
        if (text_is_near(slice_str(wrote), name, &distance) && distance < least) {
            least = distance;
            best = name;
        }
    }
    if (best.data)
        report_warning(l->report, judge_origin(l, "validation.finish_reasons"), "validation.finish_reasons",
                       "no answer is known to end by %s; did you mean %.*s?", wrote, (int)best.len,
                       best.data);
}

static void judge_validation(struct loading *l)
{
    const struct validation_conf *v = &l->conf->validation;
    const struct text_list *statuses = &v->statuses;

    for (size_t i = 0; i < v->finish_reasons_n; i++)
        judge_finish_name(l, v->finish_reasons[i].name);

    for (size_t i = 0; i < statuses->n; i++)
        if (slice_eq(statuses->at[i], SLICE_OF("206")))
            judge_fail(l, "validation.statuses", "206 is a part of an answer, which is never stored");
    if (statuses->n == 0)
        judge_warn(l, "validation.statuses", "an empty list: no answer to POST is ever stored");
}

static void judge_invalidation(struct loading *l)
{
    if (l->conf->invalidation_strict && !l->conf->tiers.redis.url)
        judge_warn(l, "invalidation.strict",
                   "without tiers.redis.url there are no other instances: it has no effect");
}

/* -- tiers -- */

static bool has_lower_tier(const struct config *c)
{
    return (c->tiers.disk.path && c->tiers.disk.path[0]) || c->tiers.redis.url;
}

/* It may yet be made before Refrain starts, or be another machine's: no error. */
static void judge_disk(struct loading *l)
{
    const char *path = l->conf->tiers.disk.path, *slash = path ? strrchr(path, '/') : NULL;
    char directory[PATH_MAX];
    struct stat st;

    if (!path || !path[0])
        return;
    (void)snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path + 1) : 1,
                   slash ? path : ".");
    if (path[0] != '/')
        judge_warn(l, "tiers.disk.path", "not from the root on: it lies where Refrain happens to be started");
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        judge_warn(l, "tiers.disk.path", "a directory; expected the name of a file, such as cache.db in it");
    else if (stat(directory, &st) < 0)
        report_warning(l->report, judge_origin(l, "tiers.disk.path"), "tiers.disk.path", "%s: %s", directory,
                       strerror(errno));
    else if (access(directory, W_OK) < 0)
        report_warning(l->report, judge_origin(l, "tiers.disk.path"), "tiers.disk.path",
                       "%s cannot be written by who checks this", directory);
}

static void judge_sizes(struct loading *l)
{
    const struct config *c = l->conf;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    if (c->tiers.memory.enabled && c->cache.object_bytes_max > c->tiers.memory.bytes_max / 4)
        judge_warn(l, "cache.max_object_bytes",
                   "more than a quarter of tiers.memory.max_bytes: single answers push out all others");
    if (c->coalescing.flight_bytes_max < c->cache.object_bytes_max)
        judge_warn(l, "coalescing.flight_max_bytes",
                   "less than cache.max_object_bytes: larger answers are never stored");
    if (pages > 0 && page > 0 && c->tiers.memory.bytes_max / 4 * 5 > (uint64_t)pages * (uint64_t)page)
        judge_warn(l, "tiers.memory.max_bytes", "more than four fifths of this machine's memory");
    if (c->coalescing.cluster && !c->tiers.redis.url)
        report_error(l->report, &entry_of(l->conf, "coalescing.cluster")->origin, "coalescing.cluster",
                     "instances find each other by Redis: tiers.redis.url");
    if (c->coalescing.cluster && !c->coalescing.enabled)
        judge_warn(l, "coalescing.cluster", "of no effect while coalescing.enabled is false");
    if (has_lower_tier(c) && c->tiers.write_queue_bytes_max < c->cache.object_bytes_max)
        judge_warn(l, "tiers.write_queue_max_bytes",
                   "less than cache.max_object_bytes: larger answers never reach the tiers below memory");
    if (!c->tiers.memory.enabled && !has_lower_tier(c))
        judge_warn(l, "tiers.memory.enabled",
                   c->coalescing.enabled ? "no tier is left: nothing is stored"
                                         : "no tier and no coalescing: nothing is left for Refrain to do");
}

/* -- texts of a kind of their own -- */

static void judge_patterns(struct loading *l)
{
    const struct text_list *patterns = &l->conf->redact.patterns;
    struct redact *redact = redact_new();
    char why[REDACT_WHY_BYTES];
    size_t at;

    for (size_t i = 0; redact && i < patterns->n; i++) {
        int r = redact_add(redact, patterns->at[i], why, &at);

        if (r == -EINVAL)
            report_error(l->report, judge_origin(l, "redact.patterns"), "redact.patterns",
                         "%s: no regular expression: behind %zu bytes, %s", patterns->at[i].data, at, why);
        else if (r == -ENOSPC)
            report_error(l->report, judge_origin(l, "redact.patterns"), "redact.patterns", "more than %d",
                         REDACT_PATTERNS_MAX);
        if (r == -ENOSPC)
            break;
    }
    redact_free(redact);
}

/* Nothing of the text is shown: a slip may have put a key where none belongs. */
static void judge_encryption(struct loading *l)
{
    const struct secret_conf *key = &l->conf->encryption.key;
    struct seal_keys *keys = key->text ? seal_keys_new() : NULL;
    const char *name = key->file ? "encryption.key_file" : "encryption.key";
    unsigned line = 0;
    int r = keys ? seal_keys_read(keys, slice_str(key->text), &line) : 0;

    seal_keys_free(keys);
    if (r == -EINVAL)
        report_error(l->report, judge_origin(l, name), name,
                     "in line %u: expected keys of 32 bytes, as 64 hexadecimal digits or as base64; "
                     "`openssl rand -hex 32` makes one",
                     line);
    else if (r == -ENOSPC)
        report_error(l->report, judge_origin(l, name), name, "more than %d keys", SEAL_KEYS_MAX);
    else if (r < 0)
        report_error(l->report, judge_origin(l, name), name, "there is no key in it");
}

static void judge_pricing(struct loading *l)
{
    const struct config *c = l->conf;
    size_t globs = 0;

    for (size_t i = 0; i < c->pricing_n; i++)
        globs += c->pricing[i].models.n;
    if (globs > PRICES_MAX)
        report_error(l->report, judge_origin(l, "pricing[0].model"), "pricing", "at most %d models, got %zu",
                     PRICES_MAX, globs);
}

/* -- all of it -- */

void config_judge(struct loading *l)
{
    judge_cache_scope(l);
    config_judge_rules(l); /* before the listeners: a rule may share entries, too */
    judge_invalidation(l);
    judge_listeners(l);
    config_judge_clients(l);
    config_judge_tls(l);
    judge_ignored_fields(l);
    judge_lifetimes(l);
    judge_validation(l);
    judge_encryption(l);
    judge_patterns(l);
    config_judge_redis(l);
    judge_sizes(l);
    judge_disk(l);
    judge_pricing(l);
    config_judge_upstreams(l);
}
