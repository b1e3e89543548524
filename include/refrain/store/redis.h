/*
 * redis - a client of Redis or Valkey on one loop, alone or a cluster: commands in, replies out, and a
 * listener to channels. Hides hiredis, the sockets and TLS: none of their types leaves this module. SPEC
 * section 8.
 *
 *   redis_ask ──► by key to a node ──► pipelined on that node's one connection ──► on_reply
 *
 * A client connects by itself and goes on trying, ever more rarely, for as long as it lives. What is asked
 * while it connects for the first time, or right after a connection was lost, waits for it until its own
 * deadline; what is asked while Redis is known to be away comes back at once.
 *
 * What a server sends is checked before it is parsed: sizes, counts and depth are bounded by redis_conf, and
 * whoever breaks them, or the protocol, loses the connection.
 *
 * Threads: all of it belongs to the thread of the loop it was made on.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/base/slice.h"
#include "refrain/store/blob.h"

struct redis;
struct redis_sub;
struct redis_order; /* one command on a connection; the module's own */
struct redis_state;
struct redis_nodes;

struct redis_tls_conf {
    bool on;
    const char *ca_file;              /* PEM; NULL: the system's */
    const char *cert_file, *key_file; /* PEM, of ours; NULL: none */
    bool verify_off;                  /* take any certificate */
    const char *server_name;          /* whose certificate is expected, and asked for; NULL: the host's */
    enum { REDIS_TLS_1_2, REDIS_TLS_1_3 } version_min;
};

enum redis_cluster_mode { REDIS_CLUSTER_AUTO, REDIS_CLUSTER_ON, REDIS_CLUSTER_OFF };

/* Plain values; texts are copied by whoever takes it. 0 in a bound or a time: the one named here. */
struct redis_conf {
    const char *host; /* name or address */
    uint16_t port;    /* 6379 */
    const char *path; /* of a unix socket, in place of host and port; NULL: none */
    struct redis_tls_conf tls;
    const char *username;       /* of an ACL; NULL: none */
    const char *password;       /* NULL: none */
    unsigned db;                /* must be 0 in a cluster */
    int64_t connect_timeout_ms; /* 1000: name, connection, TLS, and being let in */
    int64_t timeout_ms;         /* 50: of a call that says nothing else */
    size_t bulk_bytes_max;      /* 64 MiB: of one text in a reply */
    size_t reply_bytes_max;     /* 128 MiB: of one whole reply */
    size_t elements_max;        /* 65536: in one whole reply */
    size_t depth_max;           /* 6: of arrays in arrays, 7 at most */
    size_t queue_bytes_max;     /* 128 MiB: of commands not yet sent, one connection */
    size_t queue_calls_max;     /* 4096: sent or not, and not answered, one connection */
    enum redis_cluster_mode cluster;
    void (*on_state)(void *arg,
                     const struct redis_state *state); /* at each change, on the loop; may be NULL */
    void *on_state_arg;
};

/* Why there is no connection, in words for operators by redis_cause_text. */
enum redis_cause {
    REDIS_FINE,
    REDIS_NOT_YET,      /* being made, for the first time */
    REDIS_UNRESOLVED,   /* the host's name is not known */
    REDIS_UNREACHABLE,  /* refused, no route, no such socket */
    REDIS_CONNECT_LATE, /* not within connect_timeout_ms */
    REDIS_TLS_FILES,    /* ours cannot be read, or do not belong together */
    REDIS_TLS_REFUSED,  /* its certificate is not good, or it does not speak TLS, or does not like ours */
    REDIS_NOAUTH,       /* it wants a password, and there is none */
    REDIS_WRONGPASS,    /* it does not take username and password */
    REDIS_NO_DB,        /* no such database */
    REDIS_LOADING,      /* it is reading its data */
    REDIS_REFUSING,     /* another error while being let in: too many clients, protected mode, … */
    REDIS_CLOSED,       /* it, or the network, ended the connection */
    REDIS_SILENT,       /* it did not answer for too long */
    REDIS_CONFUSED,     /* what it sent is no reply, larger than allowed, or not asked for */
    REDIS_NO_MEMORY,    /* ours */
    REDIS_CAUSES
};
struct redis_state {
    bool up;                /* calls have somewhere to go */
    enum redis_cause cause; /* why they have not; or, while up, why a part of a cluster is away; REDIS_FINE */
    const char
        *detail; /* as the server or the system said it, during the callback; never a secret; may be "" */
};
const char *redis_cause_text(enum redis_cause c); /* "it does not take the password": static */
/** What an operator can do about it, static; "" where there is nothing but to wait. */
const char *redis_cause_advice(enum redis_cause c);

/* How a call came back. */
enum redis_why {
    REDIS_REPLIED,   /* there is a reply, perhaps an error of the server's */
    REDIS_LATE,      /* past its deadline; it may have been done, or still be */
    REDIS_BUSY,      /* the queue is full */
    REDIS_DOWN,      /* no connection: it was not sent */
    REDIS_LOST,      /* the connection ended before the reply came; it may have been done */
    REDIS_TOO_LARGE, /* the reply is one text larger than bulk_bytes_max; or the call than queue_bytes_max */
    REDIS_WHYS
};
const char *redis_why_name(enum redis_why w); /* "late": static */

enum redis_type {
    REDIS_NIL,    /* an absent text, or array */
    REDIS_TEXT,   /* bytes */
    REDIS_STATUS, /* "OK" */
    REDIS_ERROR,  /* text: "WRONGTYPE Operation against …" */
    REDIS_INTEGER,
    REDIS_ARRAY,
};
/* A reply, or a part of one. Valid during on_reply only. */
struct redis_reply {
    enum redis_type type;
    struct slice text;                /* TEXT, STATUS, ERROR; what follows it is a NUL */
    int64_t integer;                  /* INTEGER */
    struct redis_reply *const *items; /* ARRAY */
    size_t items_n;
    struct blob *blob; /* where a TEXT's bytes lie */
};
/** True of an error whose first word is @code ("MOVED"). False of NULL, and of all else. */
bool redis_reply_is_error(const struct redis_reply *r, const char *code);
/** True of a STATUS, or TEXT, of exactly these bytes. */
bool redis_reply_is(const struct redis_reply *r, const char *text);
/** Item @i of an array when it is of type @type, else NULL; of NULL and of what is no array, NULL. */
const struct redis_reply *redis_reply_item(const struct redis_reply *r, size_t i, enum redis_type type);
/** A TEXT's bytes, held once more: the caller's, and good beyond the callback. Nothing is copied. */
struct blob *redis_reply_take(const struct redis_reply *r);

/*
 * One command. Filled in by who asks, all of it borrowed until on_reply; from then on it is the caller's
 * again, to be asked anew or freed.
 */
struct redis_call {
    const struct slice *argv; /* {"SET", key, value, …}; EVALSHA is a command like any other */
    size_t argc;
    struct slice key;    /* the one that names the slot; empty: any node */
    uint32_t node;       /* the node itself, as redis_each_node numbers it; 0: by key */
    int64_t deadline_ms; /* from now on; 0: conf.timeout_ms */
    /* On the loop, exactly once, never within redis_ask. @reply is NULL unless @why is REDIS_REPLIED. */
    void (*on_reply)(struct redis_call *call, const struct redis_reply *reply, enum redis_why why);
    /* the module's own */
    struct list link;
    struct redis *redis;
    struct redis_order *order;
    int64_t due_ms;
    enum redis_why why;
    struct redis_nodes *nodes;
    struct list wait;
    unsigned tries;
    uint16_t place;
};

/** Begins to connect. NULL when out of memory; all else is told by on_state, and by how calls come back. */
struct redis *redis_new(struct loop *l, const struct redis_conf *conf);
/** Every call comes back within it (REDIS_DOWN, REDIS_LOST), and may not ask again. NULL is fine. */
void redis_free(struct redis *r);
void redis_ask(struct redis *r, struct redis_call *call);
/** Takes back @call, which has not come back yet: on_reply will not be called. It may be done all the same.
 */
void redis_forget(struct redis_call *call);

/** True while calls have a connection to go by. */
bool redis_is_up(const struct redis *r);
/** Names each node that holds keys: one, or all masters of a cluster. @node is good for redis_call.node as
 * long as @r lives; where that node is gone by then, the call comes back REDIS_DOWN. */
void redis_each_node(struct redis *r, void (*on_node)(void *arg, uint32_t node, struct slice address),
                     void *arg);
/** False while a cluster's map is not known yet, and there is nothing to walk. */
bool redis_knows_nodes(const struct redis *r);

/*
 * A connection of its own that listens to channels. Messages published while it is not up are not heard; who
 * must not miss any keeps a log (a Stream) beside them, and reads it when on_state says up.
 */
struct redis_sub_conf {
    const struct slice *channels; /* copied */
    size_t channels_n;
    void (*on_message)(void *arg, struct slice channel, struct slice payload);
    /* up: Redis has confirmed every channel asked for so far. Never within a call of ours. May be NULL. */
    void (*on_state)(void *arg, const struct redis_state *state);
    void *arg;
};
/** NULL when out of memory. conf->on_state is not used. */
struct redis_sub *redis_sub_new(struct loop *l, const struct redis_conf *conf,
                                const struct redis_sub_conf *sub);
/** No callback comes after it. NULL is fine. */
void redis_sub_free(struct redis_sub *s);
/** Listens to one more channel, now and after each reconnect; one that is listened to already counts twice.
 * Errors: -ENOMEM; -E2BIG past 4096 channels. */
int redis_sub_add(struct redis_sub *s, struct slice channel);
/** As often as it was added: no longer. */
void redis_sub_remove(struct redis_sub *s, struct slice channel);
bool redis_sub_is_up(const struct redis_sub *s);
