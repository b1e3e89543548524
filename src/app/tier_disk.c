#include "tier_disk.h"

#include <errno.h>

#include "config.h"
#include "refrain/base/log.h"
#include "refrain/store/store_disk.h"

/* On a thread of the tier's own. */
static void on_state(const struct disk_notice *n)
{
    if (n->health == TIER_UP)
        log_event(LOG_INFO, "disk_up", LOG_STR("path", n->path));
    else if (n->health == TIER_DEGRADED)
        log_event(LOG_WARN, "disk_degraded", LOG_STR("path", n->path), LOG_STR("why", n->why),
                  LOG_ERRNO("error", n->error));
    else
        log_event(LOG_WARN, "disk_down", LOG_STR("path", n->path), LOG_STR("why", n->why),
                  LOG_ERRNO("error", n->error));
}

static void on_notice(void *arg, const struct disk_notice *n)
{
    (void)arg;
    switch (n->kind) {
    case DISK_NOTICE_STATE:
        on_state(n);
        return;
    case DISK_NOTICE_SET_ASIDE:
        log_event(LOG_WARN, n->now ? "disk_file_set_aside" : "disk_file_removed", LOG_STR("path", n->path),
                  LOG_STR("why", n->why), LOG_STR("now", n->now));
        return;
    case DISK_NOTICE_NETWORK:
        log_event(LOG_WARN, "disk_on_network", LOG_STR("path", n->path),
                  LOG_STR("what", "SQLite's log is not safe on a network file system; use a local disk"));
        return;
    }
}

int tier_disk_make(const struct config *conf, const struct record_codec *codec, struct tier **out)
{
    const struct tier_disk_conf *c = &conf->tiers.disk;
    struct store_disk_conf disk = {
        .path = c->path,
        .bytes_max = c->bytes_max,
        .timeout_ms = c->timeout_ms,
        .queue_bytes_max = c->queue_bytes_max,
        .on_notice = on_notice,
    };

    (void)codec; /* the tier keeps its labels beside the records, and looks into none */
    if (!c->path || !*c->path)
        return 0;
    *out = store_disk_new(&disk);
    if (*out)
        return 0;
    log_event(LOG_ERROR, "disk_failed", LOG_STR("path", c->path), LOG_STR("why", "out of memory or threads"));
    return -ENOMEM;
}
