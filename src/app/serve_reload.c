#include "config_show.h"
#include "refrain/base/log.h"
#include "refrain/http/site.h"
#include "refrain/http/worker.h"
#include "serve_priv.h"
#include "site_build.h"

static void on_fixed_option(void *arg, const char *name, const char *was, const char *is)
{
    (void)arg;
    (void)was;
    (void)is;
    log_event(LOG_WARN, "reload_needs_restart", LOG_STR("option", name));
}

static void report_faults(const struct config_report *report)
{
    for (size_t i = 0; i < report->n; i++)
        log_event(report->faults[i].warning ? LOG_WARN : LOG_ERROR, "config",
                  LOG_STR("fault", report->faults[i].text));
}

static void take_over_access(struct server *s)
{
    struct admin_access access;

    if (serve_token_load(s, s->conf) < 0)
        return; /* told; the old one goes on */
    access = serve_access_of(s, s->conf);
    if (access.token.len > 0)
        admin_set_access(s->admin, &access);
}

void serve_log_opened(int r)
{
    if (r < 0)
        log_event(LOG_ERROR, "log_not_opened",
                  LOG_STR("what", "log.file cannot be opened; the old one goes on"), LOG_ERRNO("error", r));
}

static void take_over(struct server *s, struct config *conf)
{
    struct site *site = serve_site_of(s, conf);
    struct front_conf front;

    if (!site) {
        config_free(conf);
        log_event(LOG_ERROR, "reload_failed", LOG_STR("what", "out of memory"));
        return;
    }
    serve_redact_renew(s, conf);
    site_own_config(site, conf); /* requests under way point into the one they began with */
    (void)config_diff_fixed(s->conf, conf, on_fixed_option, NULL);
    serve_tls_renew(s, conf);
    front = serve_front_of(s, conf);
    for (size_t i = 0; i < s->workers_n; i++)
        worker_set_site(s->workers[i], site, &front);
    site_unref(s->site);
    s->site = site;
    s->conf = conf;
    take_over_access(s);
    serve_keys_renew(s, conf);
    serve_log_opened(log_open(&conf->log.conf));
    log_event(LOG_INFO, "reloaded");
}

void serve_reload(struct server *s)
{
    struct config_report report = CONFIG_REPORT_INIT;
    struct config *conf = NULL;
    int r = config_reload(s->conf, &conf, &report);

    report_faults(&report);
    config_report_done(&report);
    if (r < 0)
        log_event(LOG_ERROR, "reload_failed", LOG_STR("what", "the running configuration stays in force"));
    else
        take_over(s, conf);
}
