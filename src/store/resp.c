#include "refrain/store/resp.h"

#include <errno.h>
#include <stdlib.h>

#include "hiredis_compat.h"
#include "refrain/base/attr.h"
#include "refrain/store/resp_guard.h"

enum {
    LONE_BYTES_MIN = 16 * 1024, /* a larger text does not go through hiredis, but straight into its blob */
    LONE_BYTES_MAX = 512 * 1024 * 1024, /* what Redis itself holds; larger than allowed, it is passed over */
    HEAD_BYTES_MAX = 32,
};

struct resp_reader {
    struct resp_guard guard;
    redisReader *hiredis;
    size_t bulk_bytes_max;
    char head[HEAD_BYTES_MAX]; /* of a reply that may turn out to be one large text */
    size_t head_len;
    bool in_lone;
    struct redis_reply *lone; /* NULL: it is passed over */
    size_t lone_at;
};

/* -- commands -- */

size_t resp_format_size(const struct slice *argv, size_t argc)
{
    size_t size = 32;

    for (size_t i = 0; i < argc; i++)
        size += 32 + argv[i].len;
    return size;
}

char *resp_format(const struct slice *argv, size_t argc, size_t *out_len)
{
    const char **texts = calloc(argc + 1, sizeof(*texts));
    size_t *lens = calloc(argc + 1, sizeof(*lens));
    char *bytes = NULL;
    long long n = -1;

    for (size_t i = 0; texts && lens && i < argc; i++) {
        texts[i] = argv[i].len ? argv[i].data : "";
        lens[i] = argv[i].len;
    }
    if (texts && lens)
        n = redisFormatCommandArgv(&bytes, (int)argc, texts, lens);
    free(texts);
    free(lens);
    if (n < 0)
        return NULL;
    *out_len = (size_t)n;
    return bytes;
}

void resp_format_free(char *bytes)
{
    if (bytes)
        redisFreeCommand(bytes);
}

/* -- replies, as hiredis has them made -- */

void resp_reply_free(struct redis_reply *reply)
{
    if (!reply)
        return;
    for (size_t i = 0; reply->type == REDIS_ARRAY && i < reply->items_n; i++)
        resp_reply_free(reply->items[i]);
    blob_unref(reply->blob);
    free((void *)reply->items);
    free(reply);
}

static void free_object(void *object)
{
    resp_reply_free(object);
}

static void *place(const redisReadTask *task, struct redis_reply *reply)
{
    struct redis_reply *parent = task->parent ? task->parent->obj : NULL;

    if (reply && parent)
        ((struct redis_reply **)parent->items)[task->idx] = reply;
    return reply;
}

static struct redis_reply *new_reply(enum redis_type type)
{
    struct redis_reply *reply = calloc(1, sizeof(*reply));

    if (reply)
        reply->type = type;
    return reply;
}

/* Its bytes not filled in, but for the NUL behind them. */
static struct redis_reply *new_text(enum redis_type type, size_t len)
{
    struct redis_reply *reply = new_reply(type);

    if (!reply)
        return NULL;
    reply->blob = blob_new(len + 1);
    if (!reply->blob) {
        resp_reply_free(reply);
        return NULL;
    }
    reply->blob->bytes[len] = '\0';
    reply->blob->len = len; /* a whole text is what a blob of it holds */
    reply->text = blob_slice(reply->blob);
    return reply;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    enum redis_type type = task->type == REDIS_REPLY_ERROR    ? REDIS_ERROR
                           : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                              : REDIS_TEXT;
    struct redis_reply *reply = new_text(type, len);

    if (reply)
        memcpy(reply->blob->bytes, text, len);
    return place(task, reply);
}

static void *create_array(const redisReadTask *task, hiredis_array_len n)
{
    struct redis_reply *reply = new_reply(REDIS_ARRAY);

    if (!reply)
        return NULL;
    reply->items = calloc((size_t)n + 1, sizeof(struct redis_reply *));
    if (!reply->items) {
        free(reply);
        return NULL;
    }
    reply->items_n = (size_t)n;
    return place(task, reply);
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct redis_reply *reply = new_reply(REDIS_INTEGER);

    if (reply)
        reply->integer = value;
    return place(task, reply);
}

static void *create_nil(const redisReadTask *task)
{
    return place(task, new_reply(REDIS_NIL));
}

static const redisReplyObjectFunctions object_functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

/* -- reading -- */

struct resp_reader *resp_reader_new(const struct resp_reader_conf *conf)
{
    struct resp_reader *r = calloc(1, sizeof(*r));
    struct resp_limits limits = {
        .bulk_bytes_max = conf->bulk_bytes_max,
        .lone_bytes_min = conf->bulk_bytes_max < LONE_BYTES_MIN ? conf->bulk_bytes_max : LONE_BYTES_MIN,
        .lone_bytes_max = conf->bulk_bytes_max < LONE_BYTES_MAX ? LONE_BYTES_MAX : conf->bulk_bytes_max,
        .reply_bytes_max = conf->reply_bytes_max,
        .elements_max = conf->elements_max,
        .depth_max = conf->depth_max,
    };

    if (!r)
        return NULL;
    resp_guard_init(&r->guard, &limits);
    r->bulk_bytes_max = conf->bulk_bytes_max;
    r->hiredis = redisReaderCreateWithFunctions((redisReplyObjectFunctions *)(uintptr_t)&object_functions);
    if (!r->hiredis) {
        free(r);
        return NULL;
    }
    return r;
}

void resp_reader_free(struct resp_reader *r)
{
    if (!r)
        return;
    redisReaderFree(r->hiredis);
    resp_reply_free(r->lone);
    free(r);
}

static int feed(struct resp_reader *r, struct slice bytes)
{
    return bytes.len > 0 && redisReaderFeed(r->hiredis, bytes.data, bytes.len) != REDIS_OK ? -ENOMEM : 0;
}

/* The guard has passed @bytes. Those of a head that may begin a large text are held back. */
static int pass(struct resp_reader *r, struct slice bytes)
{
    int e;

    if (resp_guard_in_lone_head(&r->guard)) {
        memcpy(r->head + r->head_len, bytes.data, bytes.len); /* the guard bounds a number's digits */
        r->head_len += bytes.len;
        return 0;
    }
    e = feed(r, slice_make(r->head, r->head_len));
    r->head_len = 0;
    return e == 0 ? feed(r, bytes) : e;
}

static enum resp_read begin_lone(struct resp_reader *r)
{
    r->head_len = 0;
    r->in_lone = true;
    r->lone_at = 0;
    if (r->guard.lone_bytes > r->bulk_bytes_max)
        return RESP_READ_MORE;
    r->lone = new_text(REDIS_TEXT, r->guard.lone_bytes);
    return r->lone ? RESP_READ_MORE : RESP_READ_NO_MEMORY;
}

/* The last two bytes of them all are the CR and LF behind the text. */
static void fill_lone(struct resp_reader *r, struct slice bytes)
{
    size_t room = r->guard.lone_bytes - r->lone_at, n = bytes.len < room ? bytes.len : room;

    if (r->lone && n > 0)
        memcpy(r->lone->blob->bytes + r->lone_at, bytes.data, n);
    r->lone_at += n;
}

static enum resp_read end_lone(struct resp_reader *r, struct redis_reply **out)
{
    r->in_lone = false;
    if (!r->lone)
        return RESP_READ_OVER;
    *out = r->lone;
    r->lone = NULL;
    return RESP_READ_REPLY;
}

static enum resp_read parsed(struct resp_reader *r, struct redis_reply **out)
{
    void *reply = NULL;

    if (redisReaderGetReply(r->hiredis, &reply) != REDIS_OK)
        return r->hiredis->err == REDIS_ERR_OOM ? RESP_READ_NO_MEMORY : RESP_READ_BAD;
    *out = reply;
    return reply ? RESP_READ_REPLY : RESP_READ_BAD; /* the guard and hiredis must agree where it ends */
}

enum resp_read resp_reader_next(struct resp_reader *r, struct slice *bytes, struct redis_reply **out)
{
    while (bytes->len > 0) {
        size_t used = 0;
        enum resp_verdict v = resp_guard_scan(&r->guard, *bytes, &used);
        struct slice piece = slice_make(bytes->data, used);

        if (v == RESP_BAD)
            return RESP_READ_BAD;
        *bytes = slice_skip(*bytes, used);
        if (v == RESP_LONE) {
            if (begin_lone(r) != RESP_READ_MORE)
                return RESP_READ_NO_MEMORY;
            continue;
        }
        if (r->in_lone)
            fill_lone(r, piece);
        else if (pass(r, piece) < 0)
            return RESP_READ_NO_MEMORY;
        if (v == RESP_REPLY)
            return r->in_lone ? end_lone(r, out) : parsed(r, out);
    }
    return RESP_READ_MORE;
}
