#include "tier_redis.h"

#include <errno.h>

#include "config.h"
#include "refrain/base/log.h"
#include "refrain/store/store_redis.h"

/* Once for each change, on the thread of whatever connection found out. */
static void on_notice(void *arg, const struct store_redis_notice *n)
{
    const char *advice = redis_cause_advice(n->cause);

    (void)arg;
    if (n->kind == STORE_REDIS_REFUSAL)
        log_event(LOG_WARN, "redis_refuses", LOG_STR("detail", n->detail),
                  LOG_STR("what_to_do", "see docs/redis.md for the rights and the memory it needs"));
    else if (n->up && n->cause != REDIS_FINE)
        log_event(LOG_WARN, "redis_partly_down", LOG_STR("cause", redis_cause_text(n->cause)),
                  LOG_STR("detail", n->detail[0] ? n->detail : NULL));
    else if (n->up)
        log_event(LOG_INFO, "redis_up");
    else
        log_event(LOG_WARN, "redis_down", LOG_STR("cause", redis_cause_text(n->cause)),
                  LOG_STR("detail", n->detail[0] ? n->detail : NULL),
                  LOG_STR("what_to_do", advice[0] ? advice : NULL));
}

int tier_redis_make(const struct config *conf, const struct record_codec *codec, struct tier **out)
{
    const struct store_redis_conf tier = {
        .redis = config_redis(conf), .prefix = conf->cache.prefix, .codec = *codec, .on_notice = on_notice};

    *out = conf->tiers.redis.url ? store_redis_new(&tier) : NULL;
    return conf->tiers.redis.url && !*out ? -ENOMEM : 0;
}
