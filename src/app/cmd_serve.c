#include <stdio.h>

#include "commands.h"
#include "config.h"
#include "config_show.h"
#include "refrain/base/attr.h"
#include "refrain/base/log.h"
#include "serve.h"

static int help(void)
{
    AUTO(buf_done) struct buf out = BUF_INIT(1 << 20);

    (void)puts("\nOptions for --set, with their defaults (docs/configuration.md tells each):\n");
    return cli_print(&out, config_show_options(&out));
}

/* Warnings belong in the log, which is directed by now; errors are for whoever typed the command. */
static void tell(const struct config_report *report)
{
    for (size_t i = 0; i < report->n; i++) {
        if (report->faults[i].warning)
            log_event(LOG_WARN, "config_warning", LOG_STR("what", report->faults[i].text));
        else
            (void)fprintf(stderr, "refrain: %s\n", report->faults[i].text);
    }
}

static int cmd_serve(const struct cli *cli)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    struct config *conf = NULL;
    int r, status;

    serve_hold_signals();
    r = config_from_cli(cli, false, &conf, &report);
    if (r == 0)
        (void)log_open(&conf->log.conf); /* serve_run tells when that fails */
    tell(&report);
    if (r < 0)
        return EXIT_COULD_NOT;
    status = serve_run(conf);
    config_free(conf);
    return status;
}

static const struct cli_flag *const lists[] = {config_flags, NULL};
static const struct cli_example examples[] = {
    {"refrain serve --upstream https://api.openai.com", "all that is needed"},
    {"refrain serve --config /etc/refrain/refrain.yaml", NULL},
    {"refrain serve --upstream http://127.0.0.1:11434 --set cache.scope=shared", NULL},
    {NULL, NULL},
};
const struct command command_serve = {
    .name = "serve",
    .args = "[FLAGS]",
    .help = "Serve: answer from the cache, ask upstream for the rest.",
    .group = GROUP_RUN,
    .flags = lists,
    .run = cmd_serve,
    .about = "SIGHUP reads the configuration anew, SIGUSR1 opens the log anew, SIGTERM and SIGINT end what "
             "runs and "
             "then Refrain.\n",
    .examples = examples,
    .more_help = help,
};
