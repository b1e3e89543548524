/* Replies, and what a handler asks of a request while it answers it. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "front_priv.h"

enum { STREAM_BLOCK_BYTES = 16 * 1024 };

/* libmicrohttpd takes bytes that it will not write to as void *. */
#define UNCONST(p) ((void *)(uintptr_t)(p))

static void reply_failed(struct front_req *r)
{
    r->lost = true;
}

void front_reply_bytes(struct front_req *r, struct slice body, void (*release)(void *arg), void *arg)
{
    assert(!r->response && !r->replied);
    r->response = MHD_create_response_from_buffer_with_free_callback_cls(
        body.len, UNCONST(body.len ? body.data : ""), release, arg);
    if (!r->response) {
        if (release)
            release(arg);
        reply_failed(r);
    }
}

struct stream_reply {
    struct front_req *req;
    int64_t (*read)(struct front_req *r, char *buf, size_t cap);
};

static ssize_t on_stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct stream_reply *s = cls;
    struct front_req *r = s->req;
    int64_t n;

    (void)pos;
    if (r->lost)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    n = s->read(r, buf, max);
    if (n == FRONT_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n < 0)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0)
        front_park(r); /* whoever wakes it does so from this loop, so not before we return */
    else
        r->conn->progress_ms = loop_now_ms(r->front->loop);
    return (ssize_t)n;
}

/* An answer to HEAD ends with its head (RFC 9112 section 6.3). libmicrohttpd 0.9.75 would announce chunks
 * where the length is not known, and send the last one of them, which the client takes for the next answer;
 * the one way to send no framing at all is not to go on with the connection. */
static void end_with_head(struct front_req *r, int64_t len)
{
    if (len < 0 && slice_eq(r->method, SLICE_OF("HEAD")))
        (void)MHD_set_response_options(r->response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
}

void front_reply_stream(struct front_req *r, int64_t len,
                        int64_t (*read)(struct front_req *r, char *buf, size_t cap))
{
    struct stream_reply *s = malloc(sizeof(*s));

    assert(!r->response && !r->replied);
    if (!s) {
        reply_failed(r);
        return;
    }
    *s = (struct stream_reply){r, read};
    r->response =
        MHD_create_response_from_callback(len < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)len,
                                          len < 0 ? 1024 : STREAM_BLOCK_BYTES, on_stream_read, s, free);
    if (!r->response) {
        free(s);
        reply_failed(r);
        return;
    }
    end_with_head(r, len);
}

void front_reply_field(struct front_req *r, const char *name, const char *value)
{
    /* libmicrohttpd takes no empty value; a space is one (RFC 9110 section 5.5). */
    if (r->response)
        (void)MHD_add_response_header(r->response, name,
                                      value[0] ? value : " "); /* refuses what HTTP does not allow */
}

void front_reply_trailer(struct front_req *r, const char *name, const char *value)
{
    if (r->response && value[0] != '\0')
        (void)MHD_add_response_footer(r->response, name, value);
}

void front_reply_send(struct front_req *r, unsigned status)
{
    struct front_conn *c = r->conn;

    assert(!r->replied);
    r->replied = true;
    if (r->lost || !r->response) {
        if (r->response)
            MHD_destroy_response(r->response);
        r->response = NULL;
        r->lost = true;
        return;
    }
    if (r->close_after || r->front->draining)
        (void)MHD_add_response_header(r->response, MHD_HTTP_HEADER_CONNECTION, "close");
    c->phase = PHASE_REPLY;
    c->since_ms = c->progress_ms = loop_now_ms(r->front->loop);
    if (MHD_queue_response(r->mhd, status, r->response) != MHD_YES)
        reply_failed(r);
    MHD_destroy_response(r->response); /* the connection holds it now, until on_end */
}

void front_req_reset(struct front_req *r)
{
    memset(r, 0, offsetof(struct front_req, fields));
    r->fields.n = 0;
}

struct trailer_walk {
    void *arg;
    void (*add)(void *arg, struct slice name, struct slice value);
};

static enum MHD_Result on_trailer(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t value_len)
{
    struct trailer_walk *w = cls;

    (void)kind;
    w->add(w->arg, slice_make(name, name_len), slice_make(value ? value : "", value_len));
    return MHD_YES;
}

void front_each_trailer(struct front_req *r, void (*add)(void *arg, struct slice name, struct slice value),
                        void *arg)
{
    struct trailer_walk walk = {arg, add};

    (void)MHD_get_connection_values_n(r->mhd, MHD_FOOTER_KIND, on_trailer, &walk);
}
