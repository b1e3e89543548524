#include "redis_greeting.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "refrain/store/resp.h"

enum { GREETING_BYTES_MAX = 4096 };

void redis_greeting_init(struct redis_greeting *g)
{
    *g = (struct redis_greeting){.bytes = BUF_INIT(GREETING_BYTES_MAX)};
}

void redis_greeting_done(struct redis_greeting *g)
{
    if (g->bytes.data)
        explicit_bzero(g->bytes.data, g->bytes.cap);
    buf_done(&g->bytes);
}

/* -- what is said -- */

static int add_command(struct buf *out, const struct slice *argv, size_t argc)
{
    size_t len;
    char *bytes = resp_format(argv, argc, &len);
    int r = bytes ? buf_add(out, bytes, len) : -ENOMEM;

    resp_format_free(bytes);
    return r;
}

static int greet(struct redis_greeting *g, enum redis_greeting_step step, const char *a, const char *b,
                 const char *d)
{
    struct slice argv[3] = {slice_str(a), slice_str(b), slice_str(d)};

    g->steps[g->steps_n++] = step;
    return add_command(&g->bytes, argv, d ? 3 : b ? 2 : 1);
}

int redis_greeting_make(struct redis_greeting *g, const struct redis_conf *conf)
{
    char db[16];
    int r = 0;

    buf_clear(&g->bytes);
    g->written = 0;
    g->steps_n = g->answered_n = 0;
    (void)snprintf(db, sizeof(db), "%u", conf->db);
    if (conf->password)
        r = conf->username ? greet(g, GREET_AUTH, "AUTH", conf->username, conf->password)
                           : greet(g, GREET_AUTH, "AUTH", conf->password, NULL);
    if (r == 0)
        r = greet(g, GREET_NAME, "CLIENT", "SETNAME", "refrain");
    if (r == 0 && conf->db != 0)
        r = greet(g, GREET_SELECT, "SELECT", db, NULL);
    return r == 0 ? greet(g, GREET_PING, "PING", NULL, NULL) : r;
}

struct iovec redis_greeting_unsent(const struct redis_greeting *g)
{
    return (struct iovec){g->bytes.data + g->written, g->bytes.len - g->written};
}

/* -- what is answered -- */

static enum redis_cause refusal_of(enum redis_greeting_step step, const struct redis_reply *r)
{
    if (redis_reply_is_error(r, "NOAUTH"))
        return REDIS_NOAUTH;
    if (redis_reply_is_error(r, "LOADING"))
        return REDIS_LOADING;
    if (redis_reply_is_error(r, "DENIED") || slice_starts(r->text, SLICE_OF("ERR max number of clients")))
        return REDIS_REFUSING;
    switch (step) {
    case GREET_AUTH:
        return REDIS_WRONGPASS;
    case GREET_NAME: /* for whoever lists the clients; may be forbidden */
        return REDIS_FINE;
    case GREET_SELECT:
        return REDIS_NO_DB;
    default: /* one that may not PING is let in all the same */
        return redis_reply_is_error(r, "NOPERM") ? REDIS_FINE : REDIS_REFUSING;
    }
}

static bool is_greeting_reply(enum redis_greeting_step step, const struct redis_reply *r)
{
    return r && (r->type == REDIS_ERROR || redis_reply_is(r, step == GREET_PING ? "PONG" : "OK"));
}

enum redis_cause redis_greeting_judge(struct redis_greeting *g, const struct redis_reply *r)
{
    enum redis_greeting_step step = g->steps[g->answered_n];
    enum redis_cause cause = REDIS_FINE;

    if (!is_greeting_reply(step, r))
        return REDIS_CONFUSED;
    if (r->type == REDIS_ERROR)
        cause = refusal_of(step, r);
    g->answered_n += cause == REDIS_FINE;
    return cause;
}

bool redis_greeting_is_over(const struct redis_greeting *g)
{
    return g->answered_n == g->steps_n;
}
