#include <string.h>

#include "config_priv.h"
#include "refrain/base/address.h"

/* The tier's options against each other, and what the rest of the process makes of them. */

enum { META_BYTES_MAX = 2 << 20 }; /* what a record holds beside its body */

static const char *username_of(const struct tier_redis_conf *c)
{
    return c->username ? c->username : c->at.has_username ? c->at.username : NULL;
}

static const char *password_of(const struct tier_redis_conf *c)
{
    return c->password.text ? c->password.text : c->at.has_password ? c->at.password : NULL;
}

static bool is_on_this_machine(const struct redis_url *at)
{
    return at->path[0] || strcmp(at->host, "localhost") == 0 || strncmp(at->host, "127.", 4) == 0 ||
           strcmp(at->host, "::1") == 0;
}

static void judge_user(struct loading *l, const struct tier_redis_conf *c)
{
    const char *user = username_of(c);

    if (user && strcmp(user, "default") != 0 && !password_of(c))
        judge_fail(l, c->username ? "tiers.redis.username" : "tiers.redis.url",
                   "a user needs a password: tiers.redis.password_file");
    if (!c->at.tls && !is_on_this_machine(&c->at))
        judge_warn(l, "tiers.redis.url",
                   password_of(c)
                       ? "without TLS (rediss://), its password and all answers can be read on the way"
                       : "without TLS (rediss://), all answers can be read on the way");
}

static void judge_tls(struct loading *l, const struct tier_redis_conf *c)
{
    judge_file(l, "tiers.redis.ca_file", c->ca_file);
    judge_file(l, "tiers.redis.cert", c->cert_file);
    judge_file(l, "tiers.redis.key", c->key_file);
    if (!c->cert_file != !c->key_file)
        judge_fail(l, c->cert_file ? "tiers.redis.cert" : "tiers.redis.key",
                   "a certificate and its key are given together, or neither");
    if (!c->at.tls && (c->ca_file || c->cert_file))
        judge_warn(l, c->ca_file ? "tiers.redis.ca_file" : "tiers.redis.cert",
                   "not used: only rediss:// in tiers.redis.url makes it TLS");
    if (c->at.tls && !c->verify)
        judge_warn(l, "tiers.redis.verify",
                   "whoever stands between can read and change what is stored; tiers.redis.ca_file names an "
                   "authority of your own");
}

void config_judge_redis(struct loading *l)
{
    struct tier_redis_conf *c = &l->conf->tiers.redis;
    const char *what;

    if (!c->url)
        return;
    if (redis_url_parse(slice_str(c->url), &c->at, &what) < 0) {
        judge_fail(l, "tiers.redis.url", what);
        return;
    }
    judge_user(l, c);
    judge_tls(l, c);
    if (c->cluster == REDIS_CLUSTER_ON && c->at.db != 0)
        judge_fail(l, "tiers.redis.url", "a cluster has database 0 only");
}

struct redis_conf config_redis(const struct config *conf)
{
    const struct tier_redis_conf *c = &conf->tiers.redis;
    size_t record_bytes_max = (size_t)conf->cache.object_bytes_max + META_BYTES_MAX;

    return (struct redis_conf){
        .host = c->at.host[0] ? c->at.host : NULL,
        .port = c->at.port,
        .path = c->at.path[0] ? c->at.path : NULL,
        .tls = {.on = c->at.tls,
                .ca_file = c->ca_file,
                .cert_file = c->cert_file,
                .key_file = c->key_file,
                .verify_off = !c->verify,
                .server_name = c->server_name,
                .version_min = c->tls_min == TLS_MIN_1_3 ? REDIS_TLS_1_3 : REDIS_TLS_1_2},
        .username = username_of(c),
        .password = password_of(c),
        .db = c->at.db,
        .connect_timeout_ms = c->connect_timeout_ms,
        .timeout_ms = c->timeout_ms,
        .bulk_bytes_max = record_bytes_max,
        .reply_bytes_max = 2 * record_bytes_max,
        .queue_bytes_max = 4 * record_bytes_max,
        .cluster = c->cluster,
    };
}
