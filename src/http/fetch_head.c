/*
 * fetch_head - what upstream's head comes to: whether it answers what was asked about, who else may have it,
 * whether the answer may be stored, and what of it the readers get.
 */
#include "fetch_priv.h"
#include "refrain/base/clock.h"
#include "refrain/wire/httpdate.h"
#include "revalidate.h"

/* -- fields -- */

/* As long as the flight. */
static bool keep_field(struct fetch *x, struct fields *to, const struct field *f)
{
    struct slice name = flight_keep(x->flight, f->name), value = flight_keep(x->flight, f->value);

    return name.data && value.data && fields_add(to, name, value) == 0;
}

bool fetch_take_fields(struct fetch *x, const struct fields *fields)
{
    struct flight_head *head = flight_head_edit(x->flight);

    for (size_t i = 0; i < fields->n; i++)
        if (!keep_field(x, &head->fields, &fields->at[i]))
            return false;
    fields_classify_response(&head->fields, x->site->headers);
    return true;
}

void fetch_take_trailers(struct fetch *x, const struct fields *fields)
{
    struct fields *to = fields->n > 0 ? flight_trailers_edit(x->flight) : NULL;

    for (size_t i = 0; to && i < fields->n; i++)
        if (header_flags(x->site->headers, fields->at[i].name) == 0)
            (void)keep_field(x, to, &fields->at[i]);
}

void fetch_drop_hop_fields(struct fields *f)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < f->n; i++)
        if ((f->at[i].flags & (HEADER_HOP | HEADER_FRAMING | HEADER_OURS)) == 0)
            f->at[kept++] = f->at[i];
    f->n = kept;
}

/* What we say ourselves in upstream's place: which cache answered and, where the tag is the entry's id, the
 * tag. */
static bool is_said_by_us(const struct fetch *x, const struct field *f)
{
    if (slice_ieq(f->name, SLICE_OF("X-Cache")) || slice_ieq(f->name, SLICE_OF("X-Cache-Hits")))
        return true;
    return x->has_key && x->keep.op != OP_READ && field_id(f) == HEADER_ETAG;
}

static void drop_fields_of_ours(const struct fetch *x, struct fields *f)
{
    uint16_t kept = 0;

    for (uint16_t i = 0; i < f->n; i++)
        if (!is_said_by_us(x, &f->at[i]))
            f->at[kept++] = f->at[i];
    f->n = kept;
}

/* Where there is no room for it, it is left out. */
static void add_field(struct fetch *x, struct slice name, enum header_id id, const char *text)
{
    struct fields *fields = &flight_head_edit(x->flight)->fields;
    struct slice value = flight_keep(x->flight, slice_str(text));

    if (value.data && fields_add(fields, name, value) == 0)
        fields->at[fields->n - 1].flags = id;
}

/* RFC 9110 section 6.6.1: who receives an answer without Date adds when it came. */
static void add_date(struct fetch *x)
{
    char date[HTTPDATE_LEN + 1];

    if (fields_find_id(&flight_head(x->flight)->fields, HEADER_DATE))
        return;
    httpdate_write(x->keep.head_wall_ms / 1000, date);
    add_field(x, SLICE_OF("Date"), HEADER_DATE, date);
}

static void add_tag(struct fetch *x)
{
    char tag[ENTRY_ID_LEN + 3] = "\"";

    memcpy(tag + 1, flight_id(x->flight), ENTRY_ID_LEN);
    memcpy(tag + 1 + ENTRY_ID_LEN, "\"", 2);
    add_field(x, SLICE_OF("ETag"), HEADER_ETAG, tag);
}

/* What readers are to see of it that is said neither by upstream's connection nor in our place. */
static void dress_head(struct fetch *x)
{
    struct fields *fields = &flight_head_edit(x->flight)->fields;

    fetch_drop_hop_fields(fields);
    drop_fields_of_ours(x, fields);
    add_date(x);
    if (keep_makes_tag(&x->keep))
        add_tag(x);
}

/* -- who may have it? -- */

/* May others have what this one is about to get? false: the call was given up. */
static bool keep_company(struct fetch *x, unsigned status, bool unshareable)
{
    bool unproven = x->keep.scope->mode != KEY_SCOPE_CREDENTIAL && (status == 401 || status == 403);
    bool kept = unshareable && fetch_is_storable(x);

    if (!unshareable && !unproven)
        return true;
    fetch_tell_off(x, unshareable ? RELAY_UNSHAREABLE : RELAY_ALONE);
    if (flight_let_go(x->flight,
                      kept          ? FLIGHT_LET_KEPT
                      : unshareable ? FLIGHT_LET_UNSHAREABLE
                                    : FLIGHT_LET_ONCE,
                      clock_mono_ms()))
        return true;
    if (x->unread && kept)
        return true;
    upstream_cancel(x->call);
    return false;
}

/* Those whom Vary tells from the opener go their own way. An error of a sick upstream is for all, whatever it
 * says it varies by: they would only make it sicker (SPEC section 7). false: the call was given up. */
static bool tell_apart(struct fetch *x, unsigned status)
{
    const struct flight_split *before = flight_varies_by(x->flight);
    struct flight_split split;

    if (status >= 500 || status == 429 ||
        !varying_head(&x->keep.varying, x->site, x->keep.op, &flight_head(x->flight)->fields,
                      x->keep.head_wall_ms, &split))
        return true;
    /* Readers were told by what another instance said, which then was gone. */
    if (before && digest_eq(&before->key, &split.key) && slice_eq(before->names, split.names))
        return true;
    if (before ? flight_let_go(x->flight, FLIGHT_LET_ONCE, clock_mono_ms()) : flight_vary(x->flight, &split))
        return true;
    x->overloaded = !before;
    upstream_cancel(x->call);
    return false;
}

/* -- is it about what is stored? -- */

/* The stored head becomes the flight's, brought up to date by what has come. false: memory ran out. */
static bool merge(struct fetch *x)
{
    x->overloaded = !revalidate_merge(x->flight, x->about.entry, x->site->headers);
    if (x->overloaded)
        upstream_cancel(x->call);
    return !x->overloaded;
}

/* What upstream says to HEAD of what is stored as GET's: brings it up to date, or tells that it is no more
 * (RFC 9111 section 4.3.5). */
static bool take_description(struct fetch *x, unsigned status)
{
    struct flight_head *head = flight_head_edit(x->flight);
    int64_t length = head->body_len;
    enum valid_description told =
        status == x->about.entry->status ? revalidate_describes(x->about.entry, head) : VALID_UNTOLD;
    bool ok;

    x->described = told == VALID_DESCRIBES;
    if (x->described) {
        ok = merge(x);
        head->confirmed = false; /* it is upstream's answer all the same */
        head->body_len = length;
        return ok;
    }
    if (told == VALID_DIFFERS)
        fetch_unstore_about(x);
    fetch_drop_about(x);
    keep_give_up(&x->keep, GATE_CLIENT); /* there is no body to store */
    return true;
}

/* Upstream has answered what it was asked about. false: nothing can come of it. */
static bool take_answer(struct fetch *x, unsigned status)
{
    struct valid_tags answer, stored;

    if (!x->about.entry)
        return true;
    if (x->by_head)
        return take_description(x, status);
    if (status != 304) {
        fetch_drop_about(x);
        return true;
    }
    valid_tags_read(&flight_head(x->flight)->fields, &answer);
    revalidate_tags(x->about.entry, &stored);
    x->lost = !valid_confirms(&answer, &stored);
    if (x->lost)
        return false;
    return merge(x);
}

/* Who is alone is asked nothing about variants; but what is stored for him may be one. */
static void keep_apart(struct fetch *x)
{
    struct flight_split split;

    if (fetch_is_storable(x))
        (void)varying_head(&x->keep.varying, x->site, x->keep.op, &flight_head(x->flight)->fields,
                           x->keep.head_wall_ms, &split);
}

/* -- all of it -- */

/* false: nothing more can come of it. */
static bool take_head(struct fetch *x, unsigned status, const struct fields *fields)
{
    struct flight_head *head = flight_head_edit(x->flight);

    x->keep.head_wall_ms = clock_wall_ms();
    if (x->late)
        loop_timer_stop(x->late);
    head->status = status;
    tries_head(&x->tries, status);
    if (!fetch_takes_ours(x, status)) {
        upstream_cancel(x->call);
        return false;
    }
    fetch_note_proof(x, status);
    if (!fetch_take_fields(x, fields)) {
        x->overloaded = true;
        upstream_cancel(x->call);
        return false;
    }
    fresh_withhold(&head->fields);
    fetch_note_change(x, status, &head->fields);
    head->body_len = fields_content_length(&head->fields);
    return take_answer(x, status);
}

void fetch_on_head(void *arg, unsigned status, const struct fields *fields)
{
    struct fetch *x = arg;
    struct flight_head *head = flight_head_edit(x->flight);
    bool alone = flight_is_alone(x->flight), storable, unshareable, stream;
    enum gate_reason reason;

    if (!take_head(x, status, fields))
        return;
    storable = fetch_is_storable(x);
    reason = keep_head(&x->keep, head->body_len);
    unshareable = !alone && !keep_is_shareable(&x->keep);
    if (alone)
        keep_apart(x);
    else if (!(keep_company(x, head->status, unshareable) && tell_apart(x, head->status)))
        return;
    stream = storable && !unshareable && keep_is_stream(&x->keep);
    dress_head(x);
    if (stream) {
        head->stream = true;
        keep_follow(&x->keep);
    }
    fetch_tell_head(x);
    if (reason != GATE_STORE)
        fetch_pass_on(x, reason);
    else if (stream)
        fetch_publish(x);
}
