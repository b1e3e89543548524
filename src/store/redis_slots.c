#include "refrain/store/redis_slots.h"

#include <errno.h>

#include "refrain/store/redis.h"

/* -- slots -- */

/* CRC16 of the XMODEM kind, four bits at a time: polynomial 0x1021, nothing reflected, begins with 0. */
static uint16_t crc16(struct slice s)
{
    static const uint16_t nibbles[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                         0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    unsigned crc = 0;

    for (size_t i = 0; i < s.len; i++) {
        const unsigned byte = (unsigned char)s.data[i];

        crc = (crc << 4 & 0xffff) ^ nibbles[(crc >> 12) ^ (byte >> 4)];
        crc = (crc << 4 & 0xffff) ^ nibbles[(crc >> 12) ^ (byte & 15)];
    }
    return (uint16_t)crc;
}

uint16_t redis_slot_of(struct slice key)
{
    const char *const open = key.len ? memchr(key.data, '{', key.len) : NULL;

    if (open) {
        const struct slice after = slice_skip(key, (size_t)(open - key.data) + 1);
        const char *const closing = after.len ? memchr(after.data, '}', after.len) : NULL;

        if (closing && closing > after.data)
            key = slice_make(after.data, (size_t)(closing - after.data));
    }
    return crc16(key) % REDIS_SLOTS;
}

/* -- addresses -- */

bool redis_endpoint_eq(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void redis_endpoint_of(const struct redis_conf *conf, struct redis_endpoint *out)
{
    const char *const host = conf->host && !conf->path ? conf->host : "127.0.0.1";
    const size_t len = strnlen(host, REDIS_HOST_MAX);

    *out = (struct redis_endpoint){.port = conf->path ? 0 : conf->port};
    memcpy(out->host, host, len);
}

/* Names, IPv4, IPv6 with a zone: nothing else can be connected to, and nothing else comes near a resolver. */
static bool is_host_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr(".-_:%", c));
}

static bool is_host(struct slice s)
{
    if (s.len == 0 || s.len > REDIS_HOST_MAX || s.data[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_host_byte(s.data[i]))
            return false;
    return true;
}

static int endpoint_set(struct redis_endpoint *e, struct slice host, int64_t port)
{
    if (!is_host(host) || port < 1 || port > UINT16_MAX)
        return -EPROTO;
    *e = (struct redis_endpoint){.port = (uint16_t)port};
    memcpy(e->host, host.data, host.len);
    return 0;
}

/* -- the map -- */

static bool is_text(const struct redis_reply *r)
{
    return r->type == REDIS_TEXT || r->type == REDIS_STATUS;
}

/* A node of a row: host, port, id, … -ENOENT: it does not know its own name, and is not to be reached. */
static int read_node(struct redis_endpoint *out, const struct redis_reply *node,
                     const struct redis_endpoint *asked)
{
    const struct redis_reply *port = redis_reply_item(node, 1, REDIS_INTEGER);
    struct slice host;

    if (!port || (!is_text(node->items[0]) && node->items[0]->type != REDIS_NIL))
        return -EPROTO;
    host = is_text(node->items[0]) ? node->items[0]->text : (struct slice){NULL, 0};
    if (slice_eq(host, SLICE_OF("?")) || port->integer == 0)
        return -ENOENT;
    return endpoint_set(out, host.len ? host : slice_str(asked->host), port->integer);
}

/* The index of @e among the masters; a new one where it is not there. Errors: -E2BIG. */
static int master_of(struct redis_map *m, const struct redis_endpoint *e)
{
    /* Rows of one master often follow one another. */
    for (int i = m->masters_n; i-- > 0;)
        if (redis_endpoint_eq(&m->masters[i], e))
            return i;
    if (m->masters_n == REDIS_MASTERS_MAX)
        return -E2BIG;
    m->masters[m->masters_n] = *e;
    return m->masters_n++;
}

static int give(struct redis_map *m, int64_t first, int64_t last, uint16_t owner)
{
    for (int64_t slot = first; slot <= last; slot++) {
        if (m->owner[slot] != REDIS_NOBODY)
            return -EPROTO;
        m->owner[slot] = owner;
        m->served_n++;
    }
    return 0;
}

/* A row: first slot, last slot, the master, its replicas. */
static int read_row(struct redis_map *m, const struct redis_reply *row, const struct redis_endpoint *asked)
{
    const struct redis_reply *first = redis_reply_item(row, 0, REDIS_INTEGER);
    const struct redis_reply *last = redis_reply_item(row, 1, REDIS_INTEGER);
    const struct redis_reply *node = redis_reply_item(row, 2, REDIS_ARRAY);
    struct redis_endpoint e;
    int r, owner;

    if (!first || !last || !node || first->integer < 0 || first->integer > last->integer ||
        last->integer >= REDIS_SLOTS)
        return -EPROTO;
    r = read_node(&e, node, asked);
    if (r == -ENOENT)
        return 0; /* its slots have nobody until it is known again */
    if (r < 0)
        return r;
    owner = master_of(m, &e);
    if (owner < 0)
        return owner;
    return give(m, first->integer, last->integer, (uint16_t)owner);
}

int redis_map_read(struct redis_map *out, const struct redis_reply *reply, const struct redis_endpoint *asked)
{
    if (!reply || reply->type != REDIS_ARRAY)
        return -EPROTO;
    out->masters_n = out->served_n = 0;
    memset(out->owner, 0xff, sizeof(out->owner));
    for (size_t i = 0; i < reply->items_n; i++) {
        const int r = read_row(out, reply->items[i], asked);

        if (r < 0)
            return r;
    }
    return out->served_n ? 0 : -ENODATA;
}

/* -- redirections -- */

/* Plain decimal digits, at most @max; -1 for anything else. */
static int64_t read_number(struct slice s, int64_t max)
{
    int64_t n = 0;

    if (s.len == 0 || s.len > 9)
        return -1;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return -1;
        n = n * 10 + (s.data[i] - '0');
    }
    return n <= max ? n : -1;
}

/* HOST:PORT; an IPv6 address stands there bare, so that the last colon counts. */
static int read_address(struct redis_endpoint *out, struct slice s, const struct redis_endpoint *asked)
{
    const char *const colon = s.len ? memrchr(s.data, ':', s.len) : NULL;
    struct slice host;

    if (!colon)
        return -EPROTO;
    host = slice_make(s.data, (size_t)(colon - s.data));
    return endpoint_set(out, host.len ? host : slice_str(asked->host),
                        read_number(slice_skip(s, host.len + 1), UINT16_MAX));
}

enum redis_redirect_kind redis_redirect_read(struct redis_redirect *out, struct slice error,
                                             const struct redis_endpoint *asked)
{
    const struct slice word = slice_cut(&error, ' ');
    const int64_t slot = read_number(slice_cut(&error, ' '), REDIS_SLOTS - 1);
    const bool moved = slice_eq(word, SLICE_OF("MOVED"));
    struct redis_redirect found;

    if (slot < 0 || (!moved && !slice_eq(word, SLICE_OF("ASK"))) || read_address(&found.to, error, asked) < 0)
        return REDIS_STAYS;
    found.slot = (uint16_t)slot;
    *out = found;
    return moved ? REDIS_MOVED : REDIS_ASK;
}
