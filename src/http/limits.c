#include "refrain/http/limits.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/list.h"

enum { BUCKETS = 1024 };

/* One address, or /64, that has connections now. IPv4 is kept in its IPv6-mapped form. */
struct address {
    struct list link;
    struct in6_addr ip;
    unsigned connections;
};

struct limits {
    struct limits_conf conf;
    atomic_uint connections;
    atomic_uint_fast64_t accepted, refused;
    atomic_size_t buffered_bytes;
    pthread_mutex_t lock; /* of the buckets; held for a short walk */
    struct list buckets[BUCKETS];
};

struct limits *limits_new(const struct limits_conf *conf)
{
    struct limits *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->conf = *conf;
    (void)pthread_mutex_init(&l->lock, NULL);
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&l->buckets[i]);
    return l;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        LIST_FOR_SAFE(it, &l->buckets[i])
    free(CONTAINER_OF(it, struct address, link));
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

/* false: not an address that is counted. An IPv6 caller has a whole /64 to call from. */
static bool address_of(const struct sockaddr *addr, struct in6_addr *out)
{
    if (!addr)
        return false;
    if (addr->sa_family == AF_INET6) {
        *out = ((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(out))
            memset(&out->s6_addr[8], 0, 8);
        return true;
    }
    if (addr->sa_family == AF_INET) {
        memset(out, 0, sizeof(*out));
        out->s6_addr[10] = out->s6_addr[11] = 0xFF;
        memcpy(&out->s6_addr[12], &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
        return true;
    }
    return false;
}

static struct list *bucket_of(struct limits *l, const struct in6_addr *ip)
{
    uint64_t half[2];

    memcpy(half, ip, sizeof(half));
    return &l->buckets[((half[0] ^ half[1]) * UINT64_C(0x9E3779B97F4A7C15)) >> 54];
}

static struct address *address_find(struct list *bucket, const struct in6_addr *ip)
{
    LIST_FOR(it, bucket)
    {
        struct address *a = CONTAINER_OF(it, struct address, link);

        if (memcmp(&a->ip, ip, sizeof(*ip)) == 0)
            return a;
    }
    return NULL;
}

/* false when the address has its share, or there is no memory to count it. */
static bool address_enter(struct limits *l, const struct in6_addr *ip)
{
    struct list *bucket = bucket_of(l, ip);
    struct address *a;
    bool ok = false;

    (void)pthread_mutex_lock(&l->lock);
    a = address_find(bucket, ip);
    if (!a) {
        a = calloc(1, sizeof(*a));
        if (a) {
            a->ip = *ip;
            list_push_back(bucket, &a->link);
        }
    }
    if (a && a->connections < l->conf.connections_per_address_max) {
        a->connections++;
        ok = true;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return ok;
}

static void address_leave(struct limits *l, const struct in6_addr *ip)
{
    struct address *a;

    (void)pthread_mutex_lock(&l->lock);
    a = address_find(bucket_of(l, ip), ip);
    if (a && --a->connections == 0) {
        list_remove(&a->link);
        free(a);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

static enum limits_verdict enter(struct limits *l, const struct sockaddr *addr)
{
    struct in6_addr ip;

    if (atomic_fetch_add(&l->connections, 1) >= l->conf.connections_max) {
        atomic_fetch_sub(&l->connections, 1);
        return LIMITS_FULL;
    }
    if (l->conf.connections_per_address_max > 0 && address_of(addr, &ip) && !address_enter(l, &ip)) {
        atomic_fetch_sub(&l->connections, 1);
        return LIMITS_ADDRESS_FULL;
    }
    return LIMITS_OK;
}

enum limits_verdict limits_enter(struct limits *l, const struct sockaddr *addr)
{
    enum limits_verdict verdict = enter(l, addr);

    atomic_fetch_add_explicit(verdict == LIMITS_OK ? &l->accepted : &l->refused, 1, memory_order_relaxed);
    return verdict;
}

void limits_leave(struct limits *l, const struct sockaddr *addr)
{
    struct in6_addr ip;

    if (l->conf.connections_per_address_max > 0 && address_of(addr, &ip))
        address_leave(l, &ip);
    atomic_fetch_sub(&l->connections, 1);
}

static bool take_up_to(struct limits *l, size_t n, size_t max)
{
    size_t before = atomic_fetch_add(&l->buffered_bytes, n);

    if (n <= max && before <= max - n)
        return true;
    atomic_fetch_sub(&l->buffered_bytes, n);
    return false;
}

bool limits_take_bytes(struct limits *l, size_t n)
{
    return take_up_to(l, n, l->conf.buffered_bytes_max);
}

bool limits_take_spare_bytes(struct limits *l, size_t n)
{
    return take_up_to(l, n, l->conf.buffered_bytes_max / 2);
}

void limits_give_back(struct limits *l, size_t n)
{
    atomic_fetch_sub(&l->buffered_bytes, n);
}

unsigned limits_connections(const struct limits *l)
{
    return atomic_load(&l->connections);
}

uint64_t limits_accepted(const struct limits *l)
{
    return atomic_load(&l->accepted);
}

uint64_t limits_refused(const struct limits *l)
{
    return atomic_load(&l->refused);
}

size_t limits_buffered_bytes(const struct limits *l)
{
    return atomic_load(&l->buffered_bytes);
}
