/* What goes on to upstream: the client's request less what was meant for us or for this connection alone. */
#include <stdio.h>
#include <stdlib.h>

#include "exchange_priv.h"
#include "refrain/base/clock.h"
#include "refrain/http/varying.h"
#include "revalidate.h"

enum {
    UPLOAD_BYTES_MAX = 256 * 1024,
    HOPS_DIGITS_MAX = 9,
};

/* Only OPTIONS (and TRACE, which goes nowhere) is bounded so. */
static const struct field *hops_field(const struct exchange *x)
{
    return slice_eq(x->req.method, SLICE_OF("OPTIONS"))
               ? fields_find(&x->req.fields, SLICE_OF("Max-Forwards"))
               : NULL;
}

int64_t forward_hops_left(const struct exchange *x)
{
    const struct field *f = hops_field(x);
    int64_t hops = 0;

    if (!f || f->value.len == 0 || f->value.len > HOPS_DIGITS_MAX)
        return -1;
    for (size_t i = 0; i < f->value.len; i++) {
        if (f->value.data[i] < '0' || f->value.data[i] > '9')
            return -1;
        hops = hops * 10 + (f->value.data[i] - '0');
    }
    return hops;
}

/* Conditions of the client are answered from the store; upstream is asked for the whole (SPEC section 6). */
static bool is_condition(const struct field *f)
{
    switch (field_id(f)) {
    case HEADER_IF_NONE_MATCH:
    case HEADER_IF_MODIFIED_SINCE:
    case HEADER_IF_RANGE:
    case HEADER_RANGE:
        return true;
    default:
        return false;
    }
}

static bool goes_on(const struct exchange *x, const struct field *f)
{
    if (f->flags & (HEADER_HOP | HEADER_FRAMING | HEADER_OURS))
        return false;
    if (f->flags & HEADER_PEER && !site_of(x)->upstreams[x->route->upstream].takes_controls)
        return false;
    switch (field_id(f)) {
    case HEADER_HOST:
    case HEADER_EXPECT:
    case HEADER_X_REQUEST_ID: /* sent anew below, kept or made */
        return false;
    case HEADER_ACCEPT_ENCODING:
        return x->manner == MANNER_PASSED;
    default:
        return x->manner == MANNER_PASSED || !is_condition(f);
    }
}

/* One hop less. @text is where its digits lie. */
static void count_hop(const struct exchange *x, struct field *out, size_t n, char text[HOPS_DIGITS_MAX + 2])
{
    int64_t hops = forward_hops_left(x);

    for (size_t i = 0; hops > 0 && i < n; i++)
        if (slice_ieq(out[i].name, SLICE_OF("Max-Forwards")))
            out[i].value =
                slice_make(text, (size_t)snprintf(text, HOPS_DIGITS_MAX + 2, "%d", (int)(hops - 1)));
}

static size_t fields_to_send(const struct exchange *x, struct field out[FIELDS_MAX + 4])
{
    const struct fields *in = &x->req.fields;
    size_t n = 0;

    for (size_t i = 0; i < in->n; i++)
        if (goes_on(x, &in->at[i]))
            out[n++] = in->at[i];
    /* One coding for every client, so that one entry serves them all; a stream must be followed as it comes.
     */
    if (x->manner == MANNER_CACHED)
        out[n++] = (struct field){
            SLICE("Accept-Encoding"),
            x->streamed || ask_wants_identity(&x->ask) ? SLICE_OF("identity") : SLICE_OF("gzip"), 0};
    out[n++] = (struct field){SLICE("X-Request-Id"), slice_str(x->request_id), 0};
    out[n++] = (struct field){SLICE("Via"), SLICE("1.1 refrain"), 0}; /* RFC 9110 section 7.6.3 */
    return n;
}

static void on_upload_room(void *arg)
{
    struct exchange *x = arg;

    front_wake(&x->req);
}

static struct upload *upload_begin(struct exchange *x)
{
    struct upload *u = upload_new(UPLOAD_BYTES_MAX + x->body.len);

    if (!u)
        abort(); /* a small fixed allocation */
    upload_on_room(u, on_upload_room, x);
    if (x->body.len > 0) /* what was collected before it grew too large to keep */
        (void)upload_push(u, buf_slice(&x->body));
    return u;
}

/* What configuration gives answers to GET without freshness of their own: its rules', else its route's. */
static int64_t read_ttl_s(const struct exchange *x)
{
    if (operation_read_is_live(x->path))
        return 0;
    if (x->plan.ttl_s == ASK_TTL_NONE)
        return site_of(x)->ttl_max_s;
    return x->plan.ttl_s != RULE_TTL_UNSAID ? x->plan.ttl_s : x->route->ttl_s;
}

/* Holds the stored answer to this request, whatever the request thinks of its freshness. */
static bool stored_peek(struct exchange *x, struct entry_ref *out)
{
    struct store_mem *memory = site_of(x)->memory;
    int64_t now_ms = clock_wall_ms();
    struct digest key;

    if (!memory || !store_mem_peek(memory, &x->key, now_ms, out))
        return below_peek(x, &x->key, out);
    if ((out->entry->flags & ENTRY_VARY) == 0)
        return true;
    key = varying_key(x->worker->variant_keys, out->entry, x->req.fields.at, x->req.fields.n, scope_of(x));
    entry_ref_release(out);
    return store_mem_peek(memory, &key, now_ms, out);
}

/* RFC 9110 section 7.7: what is stored cannot be this client's answer, be it confirmed or not. */
static bool is_coded_against_its_will(const struct exchange *x, const struct entry *e)
{
    return ask_wants_identity(&x->ask) && (e->flags & ENTRY_GZIP) != 0;
}

/* What is stored is asked about rather than asked for again: then @about holds it, and the conditions are put
 * behind the @n @fields. Returns how many there are now. */
static size_t ask_about(struct exchange *x, struct entry_ref *about, struct field *fields, size_t n)
{
    size_t more;

    if (x->op != OP_READ || !stored_peek(x, about) || x->head_request)
        return n;
    more = is_coded_against_its_will(x, about->entry) ? 0 : revalidate_conditions(about->entry, fields + n);
    if (more == 0)
        entry_ref_release(about);
    return n + more;
}

/* What another instance has just had is told on for so long: it may be older than is wanted here. */
static bool wants_it_fresher(const struct exchange *x)
{
    const struct cachectl *cc = &x->ask.cc;

    return cc->min_fresh_s != CC_ABSENT ||
           (cc->max_age_s != CC_ABSENT && cc->max_age_s <= FETCH_LINGER_MS / 1000);
}

/* Who is to hear upstream himself, or keeps apart here already, does so from other instances as well. */
static bool flies_with_the_fleet(const struct exchange *x, const struct flight *f)
{
    return site_of(x)->coalesce && x->ask.joins && !x->unproven && !wants_it_fresher(x) &&
           !flight_is_alone(f);
}

/* SPEC section 4: `?key=` is a credential. On paths of which nothing is known it is content like any other,
 * and so is what is left behind a client's token. */
static bool proves_by_key(const struct exchange *x)
{
    bool ours = !x->own && x->op != OP_PASS && x->op != OP_READ;

    return !x->client && (ours || dialect_of(x->op)->key_in_query);
}

void forward_start(struct exchange *x, struct flight *f, const struct digest *key, enum forward_how how)
{
    const struct site *s = site_of(x);
    struct field fields[FIELDS_MAX + 4 + REVALIDATE_FIELDS_MAX];
    char hops[HOPS_DIGITS_MAX + 2];
    struct entry_ref about = {0};
    struct fetch_spec spec = {
        .loop = x->worker->loop,
        .pool = x->worker->pool,
        .counts = x->worker->counts,
        .site = x->view->site,
        .upstream = &s->upstreams[x->route->upstream],
        .upstream_label = x->view->upstream_labels[x->route->upstream],
        .request_id = slice_str(x->request_id),
        .op = x->op,
        .streamed = x->streamed,
        .unread = how == FORWARD_UNREAD,
        .wants_json = x->facts.wants_json,
        .zero_usage = keying_zeroes_usage(s, &x->plan, x->op),
        .key = key ? &x->common_key : NULL,
        .below = x->worker->below,
        .look_below = key && below_may_ask(x) ? &x->key : NULL,
        .fleet = key && flies_with_the_fleet(x, f) ? x->worker->fleet : NULL,
        .asked = &x->req.fields,
        .caller = x->caller,
        .vary_id = slice_make(x->vary_id, x->has_vary_id ? sizeof(x->vary_id) : 0),
        .namespace_ = plan_namespace(&x->plan, &x->ask, s->namespace_),
        .scope = scope_of(x),
        .anonymous = x->stranger,
        .key_in_query = proves_by_key(x),
        .read_only = x->plan.cache == RULE_CACHE_READ_ONLY,
        .model = slice_str(x->model),
        .op_name = operation_name(x),
        .prompt = prompt_tier_of(x->facts.characters),
        .route_ttl_s = read_ttl_s(x),
        .heuristic = x->route->heuristic && !operation_read_is_live(x->path),
        .method = x->req.method.data,
        .target = x->target,
        .fields = fields,
        .fields_n = fields_to_send(x, fields),
        .has_body = x->has_body,
        .upload_len = x->content_length,
    };

    if (key)
        spec.fields_n = ask_about(x, &about, fields, spec.fields_n);
    if (about.entry)
        spec.about = &about;
    else if (x->head_request)
        spec.key = NULL;
    count_hop(x, fields, spec.fields_n, hops);
    x->asked_upstream = how != FORWARD_UNREAD;
    if (how == FORWARD_STREAMED) {
        x->upload = upload_begin(x);
        spec.upload = x->upload;
    } else if (x->has_body) {
        spec.body = &x->body;
        spec.body_charged = x->body_charged;
        x->body_charged = 0;
    }
    fetch_start(f, &spec);
}
