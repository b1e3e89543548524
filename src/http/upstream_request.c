#include "upstream_priv.h"

#include <errno.h>
#include <stdlib.h>

#include "refrain/wire/credential.h"

enum { CONNECT_GRACE_MS = 250 };

/* What the library would add of its own accord when the client did not send it; an entry without a value
 * stops it. */
static const char *const silenced[] = {"Accept", "Content-Type", "Expect", "Proxy-Connection", "User-Agent"};

/* Fields that say how this message is framed, or where it goes: made anew here, whatever the caller left in.
 */
static const struct slice made_here[] = {
    SLICE("Host"), SLICE("Content-Length"), SLICE("Transfer-Encoding"), SLICE("Expect"), SLICE("Connection"),
};

static bool is_among(struct slice name, const struct slice *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_ieq(name, list[i]))
            return true;
    return false;
}

static struct slice name_of_line(const char *line)
{
    struct slice rest = slice_str(line);

    return slice_trim(slice_cut(&rest, ':'));
}

/* The operator's additions take the place of what the client sent under that name; removals just remove. */
static bool is_overruled(const struct upstream_conf *conf, struct slice name)
{
    for (const char *const *at = conf->headers_remove; at && *at; at++)
        if (slice_ieq(name, slice_str(*at)))
            return true;
    for (const char *const *at = conf->headers_add; at && *at; at++)
        if (slice_ieq(name, name_of_line(*at)))
            return true;
    return false;
}

/* Where Refrain proves itself to upstream, nothing that a client brings may speak for it. */
static bool is_of_client(const struct upstream_conf *conf, const struct field *f)
{
    return conf->credential &&
           (f->flags & HEADER_CREDENTIAL || slice_ieq(f->name, name_of_line(conf->credential)));
}

static bool drops_keys(const struct upstream_conf *conf, const struct upstream_request *req)
{
    return conf->credential &&
           (req->key_in_query || slice_ieq(name_of_line(conf->credential), SLICE_OF("x-goog-api-key")));
}

/* No byte that would end a line or a word early: nothing ambiguous may leave (SPEC section 2). */
static bool target_is_ok(struct slice target)
{
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.data[i] <= ' ' || target.data[i] == 0x7F)
            return false;
    return target.len > 0;
}

static bool may_be_sent(const struct upstream_request *req)
{
    if (!header_name_ok(slice_str(req->method)) ||
        !target_is_ok(req->target)) /* a method is a token as well */
        return false;
    for (size_t i = 0; i < req->fields_n; i++)
        if (!header_name_ok(req->fields[i].name) || !header_value_ok(req->fields[i].value))
            return false;
    return true;
}

static size_t lines_of(const char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

/* An upper bound of what put_* will write, and room for it. */
static int make_room(struct upstream_call *c, const struct upstream_request *req)
{
    const struct upstream_conf *conf = c->origin->conf;
    size_t nodes = req->fields_n + lines_of(conf->headers_add) + ARRAY_LEN(silenced) + 1;
    size_t bytes = strlen(req->method) + 1 + strlen(conf->url) + req->target.len + 1 +
                   (conf->credential ? strlen(conf->credential) + 2 : 0);

    for (size_t i = 0; i < req->fields_n; i++)
        bytes += req->fields[i].name.len + 2 + req->fields[i].value.len + 1;
    for (const char *const *at = conf->headers_add; at && *at; at++)
        bytes += strlen(*at) + 2;
    for (size_t i = 0; i < ARRAY_LEN(silenced); i++)
        bytes += strlen(silenced[i]) + 2;
    if (bytes > c->text_cap) {
        free(c->text);
        c->text_cap = 0;
        c->text = malloc(bytes);
        if (!c->text)
            return -ENOMEM;
        c->text_cap = bytes;
    }
    if (nodes > c->nodes_cap) {
        free(c->nodes);
        c->nodes_cap = 0;
        c->nodes = malloc(nodes * sizeof(*c->nodes));
        if (!c->nodes)
            return -ENOMEM;
        c->nodes_cap = nodes;
    }
    return 0;
}

/* Writes into the room made. */
struct pen {
    char *at;
    struct curl_slist *node; /* the next one to use */
};

static void put(struct pen *pen, struct slice s)
{
    if (s.len)
        memcpy(pen->at, s.data, s.len);
    pen->at += s.len;
}

static void put_end(struct pen *pen)
{
    *pen->at++ = '\0';
}

static void begin_line(struct pen *pen)
{
    pen->node->data = pen->at;
    pen->node->next = pen->node + 1;
    pen->node++;
}

/* "Name: value"; to the library "Name;" is an empty value, and "Name:" not to send the field at all. */
static void put_field(struct pen *pen, struct slice name, struct slice value)
{
    value = slice_trim(value);
    begin_line(pen);
    put(pen, name);
    if (value.len) {
        put(pen, SLICE_OF(": "));
        put(pen, value);
    } else {
        put(pen, SLICE_OF(";"));
    }
    put_end(pen);
}

static void put_client_fields(struct pen *pen, const struct upstream_conf *conf,
                              const struct upstream_request *req)
{
    for (size_t i = 0; i < req->fields_n; i++) {
        const struct field *f = &req->fields[i];

        if (!is_among(f->name, made_here, ARRAY_LEN(made_here)) && !is_overruled(conf, f->name) &&
            !is_of_client(conf, f))
            put_field(pen, f->name, f->value);
    }
}

static void put_line(struct pen *pen, const char *line)
{
    struct slice value = slice_str(line);

    (void)slice_cut(&value, ':');
    put_field(pen, name_of_line(line), value);
}

/* Whoever proves nothing gets nothing added: it may be a credential, too. */
static void put_added_fields(struct pen *pen, const struct upstream_conf *conf, bool anonymous)
{
    for (const char *const *at = conf->headers_add; !anonymous && at && *at; at++)
        put_line(pen, *at);
    if (!anonymous && conf->credential)
        put_line(pen, conf->credential);
}

static bool has_line(const struct curl_slist *first, const struct curl_slist *end, struct slice name)
{
    for (; first != end; first++)
        if (strncasecmp(first->data, name.data, name.len) == 0 &&
            (first->data[name.len] == ':' || first->data[name.len] == ';'))
            return true;
    return false;
}

static void put_silenced(struct pen *pen, const struct curl_slist *first)
{
    for (size_t i = 0; i < ARRAY_LEN(silenced); i++) {
        struct slice name = slice_str(silenced[i]);

        if (has_line(first, pen->node, name))
            continue;
        begin_line(pen);
        put(pen, name);
        put(pen, SLICE_OF(":"));
        put_end(pen);
    }
}

/* "*" stands for the server as a whole: it has no prefix. */
static void put_target(struct pen *pen, const struct origin *o, const struct upstream_request *req)
{
    struct slice target = req->target;
    struct slice url = slice_str(o->conf->url);

    url.len -= o->prefix.len;
    if (o->absolute_target)
        put(pen, url);
    if (slice_eq(target, SLICE_OF("*"))) {
        if (!o->absolute_target)
            put(pen, target);
    } else {
        put(pen, o->prefix);
        if (drops_keys(o->conf, req))
            pen->at += credential_strip_every_key(target, pen->at).len;
        else
            put(pen, target);
    }
    put_end(pen);
}

static bool is_one_of(const char *method, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(method, *list) == 0)
            return true;
    return false;
}

/* RFC 9110 section 8.6: a method that means a body says so even when it is empty. */
static bool expects_body(const char *method)
{
    static const char *const names[] = {"POST", "PUT", "PATCH", NULL};

    return is_one_of(method, names);
}

/* RFC 9110 section 9.2.1 */
static bool is_safe(const char *method)
{
    static const char *const names[] = {"GET", "HEAD", "OPTIONS", NULL};

    return is_one_of(method, names);
}

static void take_body(struct upstream_call *c, const struct upstream_request *req)
{
    c->has_body = req->has_body || expects_body(req->method);
    c->streamed = req->has_body && req->read_body;
    c->read_body = req->read_body;
    c->read_trailers = req->read_trailers;
    c->body_len = c->streamed ? req->body_len : (req->has_body ? (int64_t)req->body.len : 0);
    c->body = req->has_body && !c->streamed ? req->body.data : NULL;
}

int call_take_request(struct upstream_call *c, const struct upstream_request *req)
{
    struct pen pen;
    int r;

    if (!may_be_sent(req))
        return -EINVAL;
    r = make_room(c, req);
    if (r < 0)
        return r;
    pen = (struct pen){c->text, c->nodes};
    c->method = pen.at;
    put(&pen, slice_str(req->method));
    put_end(&pen);
    c->target = pen.at;
    put_target(&pen, c->origin, req);
    put_client_fields(&pen, c->origin->conf, req);
    put_added_fields(&pen, c->origin->conf, req->anonymous);
    put_silenced(&pen, c->nodes);
    if (pen.node > c->nodes)
        pen.node[-1].next = NULL;
    c->has_nodes = pen.node > c->nodes;
    c->is_head = strcmp(c->method, "HEAD") == 0;
    c->is_safe = is_safe(c->method);
    take_body(c, req);
    answer_head_begin(&c->head, c->origin->is_tls && c->origin->conf->http2);
    c->ends_at_head = c->is_head && c->has_body;
    return 0;
}

/* -- the body on its way out -- */

/* The library takes an end before the announced length for an end, and waits for an answer that cannot come.
 */
static size_t on_read(char *out, size_t one, size_t n, void *arg)
{
    struct upstream_call *c = arg;
    size_t cap = one * n;
    int64_t got;

    if (c->want_end || c->body_at_end)
        return c->want_end ? CURL_READFUNC_ABORT : 0;
    if (c->body_len >= 0 && (int64_t)cap > c->body_len - c->body_read)
        cap = (size_t)(c->body_len - c->body_read);
    if (cap == 0)
        return 0;
    got = c->read_body(c->arg, out, cap);
    if (got == -EAGAIN) {
        c->send_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (got < 0 || got > (int64_t)cap || (got == 0 && c->body_len >= 0)) {
        call_judge(c, UPSTREAM_CANCELLED, "the request's body ended early");
        return CURL_READFUNC_ABORT;
    }
    c->body_at_end = got == 0;
    c->body_read += got;
    return (size_t)got;
}

/* RFC 9110 section 6.5.1: servers that put trailers among the fields of the head are not told by them what
 * they are not told there. */
static bool may_trail(const struct upstream_conf *conf, struct slice name)
{
    return !is_among(name, made_here, ARRAY_LEN(made_here)) && !is_overruled(conf, name) &&
           !(conf->credential && slice_ieq(name, name_of_line(conf->credential)));
}

struct trailer_list {
    const struct upstream_conf *conf;
    struct curl_slist **lines;
};

static void add_trailer(void *arg, struct slice name, struct slice value)
{
    const struct trailer_list *t = arg;
    struct curl_slist *longer;
    char *line = NULL;

    if (!header_name_ok(name) || !header_value_ok(value) || !may_trail(t->conf, name) ||
        asprintf(&line, "%.*s: %.*s", (int)name.len, name.data, (int)value.len, value.data) < 0)
        return;
    longer = curl_slist_append(*t->lines, line);
    if (longer)
        *t->lines = longer;
    free(line);
}

static int on_trailers_wanted(struct curl_slist **list, void *arg)
{
    struct upstream_call *c = arg;
    struct trailer_list t = {c->origin->conf, list};

    if (c->read_trailers)
        c->read_trailers(c->arg, add_trailer, &t);
    return CURL_TRAILERFUNC_OK;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl_now, curl_off_t ul_total,
                       curl_off_t ul_now)
{
    struct upstream_call *c = arg;

    (void)dl_total;
    (void)dl_now;
    (void)ul_total;
    if (c->stage != CALL_SENDING)
        return 0;
    if (ul_now != c->sent) {
        c->sent = ul_now;
        call_touch(c);
    }
    if (c->body_len >= 0 ? ul_now >= c->body_len : c->body_at_end && ul_now >= c->body_read)
        call_enter(c, CALL_WAITING_ANSWER);
    return 0;
}

/*
 * The request is about to be written. On a pooled connection that is dead nothing may be written: the call
 * starts over on another. A second time here means that the library sends the request again, because the
 * pooled connection ended without a byte of an answer; upstream may have acted on the first, so only a safe
 * method may go twice.
 */
static int on_connected(void *arg, char *far_ip, char *near_ip, int far_port, int near_port)
{
    struct upstream_call *c = arg;

    if (c->want_end)
        return CURL_PREREQFUNC_ABORT;
    if (c->attempts++ > 0 && !c->is_safe) {
        call_judge(c, UPSTREAM_PROTOCOL, "the connection was closed before an answer");
        return CURL_PREREQFUNC_ABORT;
    }
    if (!c->opened_socket &&
        pool_connection_is_stale(c->pool, c->origin->is_clear, far_ip, far_port, near_ip, near_port)) {
        c->is_stale = true;
        return CURL_PREREQFUNC_ABORT;
    }
    call_enter(c, c->has_body && c->body_len != 0 ? CALL_SENDING : CALL_WAITING_ANSWER);
    return CURL_PREREQFUNC_OK;
}

/* -- options -- */

/* Collects failures: each is out of memory, for every option here is known to every library we build with. */
#define SET(option, value) (failed |= curl_easy_setopt(c->easy, (option), (value)) != CURLE_OK)

static bool set_up_callbacks(struct upstream_call *c)
{
    bool failed = false;

    SET(CURLOPT_PRIVATE, c);
    SET(CURLOPT_ERRORBUFFER, c->error);
    SET(CURLOPT_HEADERFUNCTION, call_on_header_line);
    SET(CURLOPT_HEADERDATA, c);
    SET(CURLOPT_WRITEFUNCTION, call_on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_PREREQFUNCTION, on_connected);
    SET(CURLOPT_PREREQDATA, c);
    SET(CURLOPT_OPENSOCKETFUNCTION, call_on_socket_open);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_CLOSESOCKETFUNCTION, pool_on_socket_close);
    SET(CURLOPT_CLOSESOCKETDATA, c->pool); /* kept by the connection, which outlives the call */
    return failed;
}

static bool set_up_tls(struct upstream_call *c)
{
    const struct upstream_conf *conf = c->origin->conf;
    bool failed = false;

    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2); /* or later; verifying is the library's default */
    if (conf->ca_file) {
        SET(CURLOPT_CAINFO, conf->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* in place of the system's authorities, not beside them */
    }
    if (conf->cert_file)
        SET(CURLOPT_SSLCERT, conf->cert_file);
    if (conf->key_file)
        SET(CURLOPT_SSLKEY, conf->key_file);
    if (!conf->http2) {
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        return failed;
    }
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    if (c->pool->multiplexes)
        SET(CURLOPT_PIPEWAIT, 1L); /* a burst onto a cold origin makes one connection, not one a call */
    return failed;
}

static bool set_up_connection(struct upstream_call *c)
{
    const struct upstream_conf *conf = c->origin->conf;
    bool failed = false;

    SET(CURLOPT_URL, conf->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE,
        1L); /* ten minutes of silence before the first byte outlive many a NAT's memory */
    SET(CURLOPT_PROXY, conf->proxy ? conf->proxy : ""); /* "": none, whatever the environment says */
    SET(CURLOPT_NOPROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    /* Ours is exact, and comes first; with its own the library shares the time among a name's addresses. */
    if (conf->connect_timeout_ms > 0)
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)conf->connect_timeout_ms + CONNECT_GRACE_MS);
    if (c->origin->is_tls)
        failed |= set_up_tls(c);
    else
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    return failed;
}

static bool set_up_body(struct upstream_call *c)
{
    bool failed = false;

    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body_len);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, c);
    if (!c->streamed) {
        SET(CURLOPT_POSTFIELDS, c->body ? c->body : "");
        return failed;
    }
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, c);
    if (c->body_len < 0 && c->read_trailers) {
        SET(CURLOPT_TRAILERFUNCTION, on_trailers_wanted);
        SET(CURLOPT_TRAILERDATA, c);
    }
    return failed;
}

static bool set_up_message(struct upstream_call *c)
{
    bool failed = false;

    if (c->has_body)
        failed |= set_up_body(c);
    else if (c->is_head)
        SET(CURLOPT_NOBODY, 1L);
    SET(CURLOPT_CUSTOMREQUEST, c->method);
    SET(CURLOPT_REQUEST_TARGET, c->target); /* never parsed, so sent as it is */
    if (c->has_nodes)
        SET(CURLOPT_HTTPHEADER, c->nodes);
    return failed;
}

int call_set_up(struct upstream_call *c)
{
    bool failed = set_up_callbacks(c);

    failed |= set_up_connection(c);
    failed |= set_up_message(c);
    return failed ? -ENOMEM : 0;
}
