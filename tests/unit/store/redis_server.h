/*
 * redis_server - real Redis (or Valkey) servers of a test program's own, and clusters of six: the same in
 * small as tests/e2e/harness/redis.py. Each lives in a new folder under /tmp, keeps nothing on disk, and ends
 * with the program, however that ends. What goes wrong with them fails the test that runs.
 *
 * Threads: the test's own one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* What Refrain needs at most: its own names and channels, with prefix `refrain`. */
#define REDIS_LEAST_RIGHTS                                                                                   \
    "~refrain:* &refrain:* -@all +ping +hello +auth +select +client|setname +info +cluster +asking +get "    \
    "+set +del +unlink +exists +pexpire +pttl +strlen +scan +type +eval +evalsha +publish +subscribe "       \
    "+unsubscribe +xadd +xrange +xread +xlen +xtrim +xinfo +dbsize +getrange +mget +memory|usage "           \
    "+xrevrange +hset +hgetall "                                                                             \
    "+hlen +hdel +time"

struct redis_server_conf {
    bool unix_socket;         /* its public side: a socket instead of a port of 127.0.0.1 */
    bool tls;                 /* the port speaks TLS only, and wants a client certificate */
    const char *user;         /* one of least rights, beside whom the default user is off; needs a password */
    const char *password;     /* the user's, or the default user's; NULL: none */
    bool cluster;             /* a node; redis_cluster_new sets it */
    const char *certificates; /* a folder that redis_server_certificates tells; NULL: made when needed */
};

struct redis_server;
/** Listens when this returns. NULL for @conf: plain, a port, nobody kept out. */
struct redis_server *redis_server_new(const struct redis_server_conf *conf);
/** NULL is fine. */
void redis_server_free(struct redis_server *s);

/** Of 127.0.0.1; 0 with a unix socket. */
int redis_server_port(const struct redis_server *s);
/** redis://127.0.0.1:PORT, rediss://…, unix:PATH; the server's, as all texts below. */
const char *redis_server_url(const struct redis_server *s);
/** The public unix socket. */
const char *redis_server_path(const struct redis_server *s);
/** Where ca.pem, client.pem, client.key (it lets in), stranger.pem (a CA that signed nothing) and server.pem,
 * for localhost, redis.test and 127.0.0.1, lie. */
const char *redis_server_certificates(const struct redis_server *s);

/** It answers nothing until thawed. */
void redis_server_freeze(struct redis_server *s);
void redis_server_thaw(struct redis_server *s);
/** kill -9. What it held is lost. */
void redis_server_kill(struct redis_server *s);
/** After kill: on the same port, empty; a node still knows its cluster. */
void redis_server_restart(struct redis_server *s);
bool redis_server_is_alive(const struct redis_server *s);

/** Asks something with every right, as words with spaces between; the answer as text, arrays a line an
 * element. The caller's, by free. */
char *redis_server_ask(struct redis_server *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The same, for who only wants to know whether the answer is @want. */
bool redis_server_says(struct redis_server *s, const char *want, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** How often @command (lower case) was asked since the server began. */
unsigned long redis_server_calls(struct redis_server *s, const char *command);

struct redis_cluster;
enum { REDIS_CLUSTER_NODES = 6 };
/** Three masters with a replica each, all of one mind when this returns: node 0 to 2 and 3 to 5, in that
 * order. cluster-node-timeout is 1.5 s. @conf as above; NULL: plain. */
struct redis_cluster *redis_cluster_new(const struct redis_server_conf *conf);
void redis_cluster_free(struct redis_cluster *c);
struct redis_server *redis_cluster_node(struct redis_cluster *c, int i);
/** The node that serves @name now. */
struct redis_server *redis_cluster_master_of(struct redis_cluster *c, const char *name);
/** kill -9 of whoever serves @name, once its replica has all that it has; returns when that stands in, with
 * it. */
struct redis_server *redis_cluster_kill_master(struct redis_cluster *c, const char *name);
/** Waits until every living node sees every slot served and every replica follows its master. */
void redis_cluster_settle(struct redis_cluster *c);
/** The slot of @name begins to move to @target: names that @target does not have yet are answered with ASK by
 * who has it. Ended by redis_cluster_move_end, which moves what is left. */
void redis_cluster_move_begin(struct redis_cluster *c, const char *name, struct redis_server *target);
void redis_cluster_move_key(struct redis_cluster *c, const char *name, struct redis_server *target);
void redis_cluster_move_end(struct redis_cluster *c, const char *name, struct redis_server *target);
