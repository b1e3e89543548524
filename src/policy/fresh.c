#include "refrain/policy/fresh.h"

#include "refrain/wire/httpdate.h"

enum {
    HEURISTIC_PART = 10, /* of the time since Last-Modified */
    HEURISTIC_MAX_S = 24 * 3600,
};

/* -- when a response has come -- */

static void read_cache_control(const struct fields *fields, struct cachectl *out)
{
    cachectl_init(out);
    for (unsigned i = 0; i < fields->n; i++)
        if (field_id(&fields->at[i]) == HEADER_CACHE_CONTROL)
            cachectl_parse_response(out, fields->at[i].value);
}

void fresh_word_read(const struct fields *fields, struct fresh_word *out)
{
    out->targeted = cachectl_read_targeted(fields, HEADER_CDN_CACHE_CONTROL, &out->cc);
    if (!out->targeted)
        read_cache_control(fields, &out->cc);
}

/* Of several fields the first counts; what is no date lies in the past (RFC 9111 sections 4.2.1 and 5.3). */
static int64_t lifetime_by_expires(const struct fields *fields, int64_t now_s)
{
    const struct field *expires = fields_find_id(fields, HEADER_EXPIRES);
    const struct field *date = fields_find_id(fields, HEADER_DATE);
    int64_t until_s, from_s = now_s;

    if (!expires)
        return -1;
    if (date)
        (void)httpdate_parse(date->value, now_s, &from_s);
    if (!httpdate_parse(expires->value, from_s, &until_s))
        return 0;
    return until_s > from_s ? until_s - from_s : 0;
}

int64_t fresh_lifetime_s(const struct fields *fields, const struct fresh_word *word, int64_t now_s)
{
    if (word->cc.s_maxage_s != CC_ABSENT)
        return word->cc.s_maxage_s;
    if (word->cc.max_age_s != CC_ABSENT)
        return word->cc.max_age_s;
    return word->targeted ? -1 : lifetime_by_expires(fields, now_s);
}

bool fresh_status_has_default(unsigned status)
{
    return status == 200 || status == 203 || status == 204 || status == 300 || status == 301 || status == 308;
}

int64_t fresh_heuristic_s(const struct fields *fields, unsigned status, int64_t now_s)
{
    const struct field *modified = fields_find_id(fields, HEADER_LAST_MODIFIED);
    const struct field *date = fields_find_id(fields, HEADER_DATE);
    int64_t since_s, from_s = now_s, part_s;

    if (!modified || !fresh_status_has_default(status))
        return -1;
    if (date)
        (void)httpdate_parse(date->value, now_s, &from_s);
    if (!httpdate_parse(modified->value, from_s, &since_s) || since_s > from_s)
        return -1;
    part_s = (from_s - since_s) / HEURISTIC_PART;
    return part_s < HEURISTIC_MAX_S ? part_s : HEURISTIC_MAX_S;
}

/* RFC 9111 section 5.1: the first member of a list; 0 when it is no number. */
static int64_t age_value_s(const struct fields *fields)
{
    const struct field *age = fields_find_id(fields, HEADER_AGE);
    struct slice rest, value;
    int64_t s = 0;

    if (!age)
        return 0;
    rest = age->value;
    value = slice_trim(slice_cut(&rest, ','));
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return 0;
        s = s * 10 + (value.data[i] - '0');
        if (s > INT32_MAX)
            s = INT32_MAX; /* section 1.2.2 */
    }
    return s;
}

static int64_t apparent_age_s(const struct fields *fields, int64_t came_s)
{
    const struct field *date = fields_find_id(fields, HEADER_DATE);
    int64_t date_s;

    if (!date || !httpdate_parse(date->value, came_s, &date_s) || date_s > came_s)
        return 0;
    return came_s - date_s < INT32_MAX ? came_s - date_s : INT32_MAX;
}

int64_t fresh_initial_age_s(const struct fields *fields, int64_t asked_ms, int64_t came_ms)
{
    int64_t delay_s = came_ms > asked_ms ? (came_ms - asked_ms) / 1000 : 0;
    int64_t corrected_s = age_value_s(fields) + delay_s, apparent_s = apparent_age_s(fields, came_ms / 1000);

    return apparent_s > corrected_s ? apparent_s : corrected_s;
}

static bool is_withheld(const struct fields *fields, enum header_id by, struct slice name)
{
    for (unsigned i = 0; i < fields->n; i++)
        if (field_id(&fields->at[i]) == by && cachectl_withholds(fields->at[i].value, name))
            return true;
    return false;
}

void fresh_withhold(struct fields *fields)
{
    for (unsigned i = 0; i < fields->n; i++)
        if (is_withheld(fields, HEADER_CACHE_CONTROL, fields->at[i].name) ||
            is_withheld(fields, HEADER_CDN_CACHE_CONTROL, fields->at[i].name))
            fields->at[i].flags |= HEADER_UNSTORED;
}

bool fresh_has_validator(const struct fields *fields)
{
    return fields_find_id(fields, HEADER_ETAG) || fields_find_id(fields, HEADER_LAST_MODIFIED);
}

static bool is_whole_no_cache(const struct cachectl *cc)
{
    return cc->no_cache && !cc->no_cache_fields;
}

/* What is left of a lifetime that others than upstream give. The operator's begins when the answer comes: it
 * is his word. A guessed one stands for upstream's own, so the age counts (RFC 9111 section 4.2.2). */
static bool left_of_given(const struct fresh_arrival *a, struct fresh_life *out)
{
    int64_t guess_s;

    out->given = a->given_ttl_s > 0 && fresh_status_has_default(a->status);
    out->left_s = a->given_ttl_s;
    if (out->given)
        return true;
    guess_s = a->heuristic ? fresh_heuristic_s(a->fields, a->status, a->came_ms / 1000) : -1;
    out->left_s = guess_s - out->age_s;
    return guess_s >= 0;
}

void fresh_life_read(const struct fresh_arrival *a, struct fresh_life *out)
{
    int64_t lifetime_s;

    fresh_word_read(a->fields, &out->word);
    out->age_s = fresh_initial_age_s(a->fields, a->asked_ms, a->came_ms);
    out->validator = fresh_has_validator(a->fields);
    out->must_ask = is_whole_no_cache(&out->word.cc);
    out->given = false;
    lifetime_s = fresh_lifetime_s(a->fields, &out->word, a->came_ms / 1000);
    out->known = lifetime_s >= 0;
    out->left_s = out->known ? lifetime_s - out->age_s : 0;
    if (!out->known)
        out->known = left_of_given(a, out);
    out->known |= out->must_ask;
    if (out->must_ask || !out->known)
        out->left_s = 0;
}

void fresh_windows_obey(const struct fresh_word *word, struct fresh_windows *out)
{
    const struct cachectl *cc = &word->cc;

    out->must_revalidate = cc->must_revalidate || cc->proxy_revalidate || is_whole_no_cache(cc);
    if (out->must_revalidate || cc->s_maxage_s != CC_ABSENT)
        out->while_revalidate_s = out->if_error_s = 0;
    if (out->must_revalidate)
        return;
    if (cc->stale_while_revalidate_s != CC_ABSENT)
        out->while_revalidate_s = cc->stale_while_revalidate_s;
    if (cc->stale_if_error_s != CC_ABSENT)
        out->if_error_s = cc->stale_if_error_s;
    if (cc->s_maxage_s != CC_ABSENT && out->while_revalidate_s == 0 && out->if_error_s == 0)
        out->must_revalidate = true;
}

/* -- when it is asked for again -- */

int64_t fresh_age_s(const struct fresh_stored *s, int64_t now_ms)
{
    return s->initial_age_s + (now_ms > s->created_ms ? (now_ms - s->created_ms) / 1000 : 0);
}

/* How long it has been stale, in ms; negative while it is fresh. */
static int64_t stale_ms(const struct fresh_stored *s, int64_t now_ms)
{
    return s->expires_ms == INT64_MAX ? INT64_MIN : now_ms - s->expires_ms;
}

static bool too_old(const struct fresh_stored *s, const struct cachectl *asked, int64_t now_ms)
{
    return asked->max_age_s != CC_ABSENT && fresh_age_s(s, now_ms) > asked->max_age_s;
}

static bool takes_stale(const struct cachectl *asked, int64_t for_ms)
{
    return asked->max_stale_any || (asked->max_stale_s != CC_ABSENT && for_ms <= asked->max_stale_s * 1000);
}

/* RFC 9111 section 5.2.1: max-age and min-fresh want a fresh one, unless max-stale says how stale it may be.
 */
static bool refuses_stale(const struct cachectl *asked)
{
    bool limits = asked->max_stale_s != CC_ABSENT && !asked->max_stale_any;

    return asked->min_fresh_s != CC_ABSENT || limits ||
           (asked->max_age_s != CC_ABSENT && !asked->max_stale_any);
}

enum fresh_verdict fresh_judge(const struct fresh_stored *s, const struct cachectl *asked, int64_t now_ms)
{
    int64_t for_ms = stale_ms(s, now_ms);
    bool taken;

    if (too_old(s, asked, now_ms))
        return FRESH_ASK;
    if (for_ms < 0)
        return asked->min_fresh_s != CC_ABSENT && for_ms > -asked->min_fresh_s * 1000 ? FRESH_ASK
                                                                                      : FRESH_SERVE;
    taken = takes_stale(asked, for_ms) && asked->min_fresh_s == CC_ABSENT;
    if (s->windows.must_revalidate || (!taken && refuses_stale(asked)))
        return FRESH_ASK;
    if (for_ms < s->windows.while_revalidate_s * 1000)
        return FRESH_SERVE_REFRESH;
    return taken ? FRESH_SERVE_STALE : FRESH_ASK;
}

bool fresh_serves_on_error(const struct fresh_stored *s, const struct cachectl *asked, int64_t now_ms)
{
    int64_t window_s = s->windows.if_error_s;

    if (asked->no_cache)
        return false;
    if (fresh_judge(s, asked, now_ms) != FRESH_ASK)
        return true;
    if (s->windows.must_revalidate)
        return false;
    if (asked->stale_if_error_s != CC_ABSENT)
        window_s = asked->stale_if_error_s; /* who asks knows what is good enough */
    else if (too_old(s, asked, now_ms) || refuses_stale(asked))
        return false;
    return stale_ms(s, now_ms) < window_s * 1000;
}
