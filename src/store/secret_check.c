#include "refrain/store/secret_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"

enum { NAME_BYTES = 256, ASK_MS = 5000, AGAIN_MS = 5000 };

struct secret_check {
    struct loop *loop;
    struct redis *redis; /* NULL once it was told */
    struct loop_timer *again;
    void (*on_told)(void *arg, bool same);
    void *arg;
    char name[NAME_BYTES];
    char sum[DIGEST_HEX_LEN + 1];
    struct slice argv[7];
    struct redis_call call;
    struct loop_msg end;
    bool ending, freed;
};

static void ask_set(struct secret_check *c);

static void on_again(void *arg)
{
    ask_set(arg);
}

/* A client may not be freed within its own callback. */
static void on_end(struct loop_msg *m)
{
    struct secret_check *c = CONTAINER_OF(m, struct secret_check, end);

    c->ending = false;
    redis_free(c->redis);
    c->redis = NULL;
    if (c->freed)
        free(c);
}

static void tell(struct secret_check *c, bool same)
{
    c->ending = true;
    c->end.on_msg = on_end;
    loop_post(c->loop, &c->end);
    c->on_told(c->arg, same);
}

static void try_again(struct secret_check *c)
{
    if (!c->freed)
        loop_timer_start(c->again, AGAIN_MS, 0);
}

static void on_got(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct secret_check *c = CONTAINER_OF(call, struct secret_check, call);

    if (why == REDIS_REPLIED && reply->type == REDIS_TEXT)
        tell(c, slice_eq(reply->text, slice_str(c->sum)));
    else
        try_again(c);
}

static void ask(struct secret_check *c, size_t argc,
                void (*on_reply)(struct redis_call *, const struct redis_reply *, enum redis_why))
{
    c->call = (struct redis_call){
        .argv = c->argv, .argc = argc, .key = c->argv[1], .deadline_ms = ASK_MS, .on_reply = on_reply};
    redis_ask(c->redis, &c->call);
}

static void on_set(struct redis_call *call, const struct redis_reply *reply, enum redis_why why)
{
    struct secret_check *c = CONTAINER_OF(call, struct secret_check, call);

    if (why != REDIS_REPLIED || reply->type == REDIS_ERROR) {
        try_again(c);
        return;
    }
    c->argv[0] = SLICE_OF("GETRANGE"); /* counted apart from the GETs of entries */
    c->argv[2] = SLICE_OF("0");
    c->argv[3] = SLICE_OF("-1");
    ask(c, 4, on_got);
}

static void ask_set(struct secret_check *c)
{
    c->argv[0] = SLICE_OF("SET");
    c->argv[1] = slice_str(c->name);
    c->argv[2] = slice_str(c->sum);
    c->argv[3] = SLICE_OF("NX");
    c->argv[4] = SLICE_OF("EX");
    c->argv[5] = SLICE_OF("2592000");
    ask(c, 6, on_set);
}

struct secret_check *secret_check_new(struct loop *l, const struct secret_check_conf *conf)
{
    struct secret_check *c = calloc(1, sizeof(*c));
    struct digest sum = hmac_sha256(conf->secret, SLICE_OF("refrain: the secret that keys are made with"));

    if (!c)
        return NULL;
    c->loop = l;
    c->on_told = conf->on_told;
    c->arg = conf->arg;
    digest_hex(&sum, c->sum);
    (void)snprintf(c->name, sizeof(c->name), "%s:secret-check", conf->prefix);
    c->redis = redis_new(l, conf->redis);
    if (!c->redis) {
        free(c);
        return NULL;
    }
    c->again = loop_timer_new(l, on_again, c);
    ask_set(c);
    return c;
}

void secret_check_free(struct secret_check *c)
{
    if (!c)
        return;
    c->freed = true;
    loop_timer_free(c->again);
    if (c->ending)
        return; /* the message frees it */
    redis_free(c->redis);
    free(c);
}
