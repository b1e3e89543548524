#include "refrain/base/log.h"
#include "refrain/store/ledger.h"
#include "serve_priv.h"
#include "state.h"

void serve_ledger_begin(struct server *s)
{
    const struct config *conf = s->conf;
    struct ledger_found found;
    int r;

    if (!conf->tiers.redis.url && !conf->tiers.disk.path)
        return;
    s->ledger = state_ledger_open(conf->cache.state_dir, &found, &r);
    if (!s->ledger)
        log_event(LOG_WARN, "owed_not_kept", LOG_STR("directory", conf->cache.state_dir),
                  LOG_STR("what", "an invalidation that a tier cannot carry out yet is lost by a restart"),
                  LOG_ERRNO("error", r));
    if (found.set_aside > 0)
        log_event(LOG_ERROR, "owed_set_aside", LOG_STR("directory", conf->cache.state_dir),
                  LOG_INT("files", found.set_aside),
                  LOG_STR("what", "what tiers had still to drop could not be read; invalidate it again"));
    if (found.lines > 0)
        log_event(LOG_INFO, "owed_found", LOG_INT("lines", found.lines),
                  LOG_STR("what", "what was invalidated before the restart is made up for"));
}

void serve_ledger_told(const struct server *s)
{
    unsigned odd = ledger_odd_n(s->ledger);

    if (odd > 0)
        log_event(LOG_ERROR, "owed_unreadable", LOG_STR("directory", s->conf->cache.state_dir),
                  LOG_INT("lines", odd),
                  LOG_STR("what", "what tiers had still to drop could not be read; invalidate it again"));
}

void serve_ledger_watch(struct server *s)
{
    int r = ledger_trouble(s->ledger);

    if (r != 0 && s->ledger_trouble == 0)
        log_event(LOG_WARN, "owed_not_kept", LOG_STR("directory", s->begun_with->cache.state_dir),
                  LOG_STR("what", "an invalidation that a tier cannot carry out yet is lost by a restart"),
                  LOG_ERRNO("error", r));
    s->ledger_trouble = r;
}
