#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_priv.h"

enum { STACK_BYTES = 1024 * 1024 };

/*
 * Held by whoever asked and by the thread, until either is done with it. The lock makes sure that the thread
 * posts to a loop only while somebody waits there, who keeps it alive.
 */
struct redis_prepare {
    pthread_mutex_t lock;
    unsigned refs;
    bool abandoned;
    struct loop *loop;
    struct loop_msg msg;
    struct redis_settings *settings;
    char *host;
    uint16_t port;
    bool wants_tls;
    void (*on_done)(void *arg, struct redis_prepared *p);
    void *arg;
    struct redis_prepared result;
};

static void unref(struct redis_prepare *p)
{
    unsigned left;

    pthread_mutex_lock(&p->lock);
    left = --p->refs;
    pthread_mutex_unlock(&p->lock);
    if (left > 0)
        return;
    redis_tls_ctx_free(p->result.tls);
    redis_settings_unref(p->settings);
    pthread_mutex_destroy(&p->lock);
    free(p->host);
    free(p);
}

static void take_addresses(struct redis_prepared *out, const struct addrinfo *found)
{
    for (; found && out->addresses_n < REDIS_ADDRESSES_MAX; found = found->ai_next) {
        struct redis_address *a = &out->addresses[out->addresses_n];

        if (found->ai_addrlen > sizeof(a->storage))
            continue;
        memcpy(&a->storage, found->ai_addr, found->ai_addrlen);
        a->len = found->ai_addrlen;
        out->addresses_n++;
    }
}

static void resolve(const char *host, uint16_t port, int flags, struct redis_prepared *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *found = NULL;
    char service[8];
    int r;

    (void)snprintf(service, sizeof(service), "%u", port);
    r = getaddrinfo(host, service, &hints, &found);
    if (r != 0) {
        out->cause = REDIS_UNRESOLVED;
        redis_detail_set(&out->detail, slice_str(gai_strerror(r)));
        return;
    }
    take_addresses(out, found);
    freeaddrinfo(found);
}

static void *prepare(void *arg)
{
    struct redis_prepare *p = arg;
    struct redis_prepared out = {.cause = REDIS_FINE};
    const struct redis_conf *conf = &p->settings->conf;

    if (p->host)
        resolve(p->host, p->port, AI_NUMERICSERV, &out);
    if (out.cause == REDIS_FINE && p->wants_tls && redis_tls_ctx_new(&conf->tls, &out.tls, &out.detail) < 0)
        out.cause = REDIS_TLS_FILES;
    pthread_mutex_lock(&p->lock);
    p->result = out;
    if (!p->abandoned) {
        p->refs++;
        loop_post(p->loop, &p->msg);
    }
    pthread_mutex_unlock(&p->lock);
    unref(p);
    return NULL;
}

/* The message has a hold of its own: it may arrive at nobody. */
static void on_prepared(struct loop_msg *m)
{
    struct redis_prepare *p = CONTAINER_OF(m, struct redis_prepare, msg);
    struct redis_prepared result;
    bool wanted;

    pthread_mutex_lock(&p->lock);
    wanted = !p->abandoned;
    result = p->result;
    if (wanted)
        p->result.tls = NULL;
    pthread_mutex_unlock(&p->lock);
    if (wanted) {
        p->on_done(p->arg, &result);
        unref(p);
    }
    unref(p);
}

bool redis_prepare_now(const char *host, uint16_t port, struct redis_prepared *out)
{
    *out = (struct redis_prepared){.cause = REDIS_FINE};
    if (host)
        resolve(host, port, AI_NUMERICSERV | AI_NUMERICHOST, out);
    return out->cause == REDIS_FINE;
}

void redis_prepare_abandon(struct redis_prepare *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->abandoned = true;
    pthread_mutex_unlock(&p->lock);
    unref(p);
}

static int start_thread(struct redis_prepare *p)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int r;

    sigfillset(&all); /* signals are for the threads that await them */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attr, prepare, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -r;
}

struct redis_prepare *redis_prepare_start(struct loop *l, struct redis_settings *s, const char *host,
                                          uint16_t port, bool wants_tls,
                                          void (*on_done)(void *arg, struct redis_prepared *p), void *arg)
{
    struct redis_prepare *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    pthread_mutex_init(&p->lock, NULL);
    p->refs = 2;
    p->loop = l;
    p->msg.on_msg = on_prepared;
    p->settings = redis_settings_ref(s);
    p->host = host ? strdup(host) : NULL;
    p->port = port;
    p->wants_tls = wants_tls;
    p->on_done = on_done;
    p->arg = arg;
    if ((host && !p->host) || start_thread(p) < 0) {
        p->refs = 1;
        unref(p);
        return NULL;
    }
    return p;
}
