#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "config.h"
#include "config_show.h"
#include "pool.h"
#include "refrain/base/attr.h"

enum { PRINT_BYTES_MAX = 16 << 20 };

static const char *const presets[] = {"development", "production", "testing", NULL};

const struct cli_flag config_flags[] = {
    {"config", "FILE", "Read this file: YAML, or JSON when it ends in .json.", NULL},
    {"upstream", "URL", "Where requests go; enough by itself.", NULL},
    {"listen", "ADDRESS", "Where clients connect (127.0.0.1:8080).", NULL},
    {"admin", "ADDRESS", "Where metrics, health and API are (127.0.0.1:9180).", NULL},
    {"preset", "NAME", "Begin with development, production or testing.", presets},
    {"set", "NAME=VALUE", "Set any option by its name; may be given again and again.", NULL},
    {NULL, NULL, NULL, NULL},
};

/* Of commands that only need to know where things are: their --admin is a URL. */
const struct cli_flag config_file_flags[] = {
    {"config", "FILE", "The configuration of the instance; REFRAIN_CONFIG names one, too.", NULL},
    {"set", "NAME=VALUE", "Set any option by its name.", NULL},
    {NULL, NULL, NULL, NULL},
};

/* Flags that are short for an option. */
static const struct {
    const char *flag, *option;
} shorts[] = {
    {"upstream", "upstream"},
    {"listen", "listen.address"},
    {"admin", "admin.address"},
    {"preset", "preset"},
};

/* False after telling why not. */
static bool add_set(struct pool *pool, const char *value, struct config_flag *out)
{
    struct slice rest = slice_str(value), name = slice_cut(&rest, '=');

    if (!rest.data || name.len == 0) {
        (void)fprintf(stderr, "refrain: --set %s: expected NAME=VALUE, such as log.level=debug\n", value);
        return false;
    }
    out->name = pool_text(pool, name);
    out->text = rest.data;
    out->shown = pool_printf(pool, "--set %s", out->name);
    return true;
}

static bool is_config_flag(const struct cli_flag *flag)
{
    return flag >= config_flags && flag < config_flags + ARRAY_LEN(config_flags);
}

static bool gather_flags(struct pool *pool, const struct cli *cli, struct config_sources *s)
{
    struct config_flag *flags = pool_alloc(pool, (cli->given_n + 1) * sizeof(*flags));

    for (size_t i = 0; i < cli->given_n; i++) {
        const struct cli_given *g = &cli->given[i];

        if (strcmp(g->flag->name, "set") == 0) {
            if (!add_set(pool, g->value, &flags[s->flags_n]))
                return false;
            s->flags_n++;
        }
        for (size_t k = 0; k < ARRAY_LEN(shorts); k++)
            if (is_config_flag(g->flag) && strcmp(g->flag->name, shorts[k].flag) == 0)
                flags[s->flags_n++] = (struct config_flag){shorts[k].option, g->value,
                                                           pool_printf(pool, "--%s", shorts[k].flag)};
    }
    s->flags = flags;
    return true;
}

static int config_from_flags(const struct cli *cli, bool upstream_optional, struct config **out,
                             struct config_report *report)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    struct config_sources sources = {
        .file = cli_value(cli, "config"),
        .env = (const char *const *)environ,
        .upstream_optional = upstream_optional,
    };

    if (!gather_flags(&pool, cli, &sources))
        return -EINVAL;
    return config_load(&sources, out, report);
}

int config_from_cli(const struct cli *cli, bool upstream_optional, struct config **out,
                    struct config_report *report)
{
    if (cli->words_n > 0) {
        (void)fprintf(stderr, "refrain: %s: not understood; options are given as --set NAME=VALUE\n",
                      cli->words[0]);
        return -EINVAL;
    }
    return config_from_flags(cli, upstream_optional, out, report);
}

static int print_report(const struct config_report *report, bool json)
{
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);

    return cli_print(&out, config_show_report(report, json, &out));
}

/* A file that cannot be read is not checked at all. */
static bool file_is_readable(const struct cli *cli)
{
    const char *file = cli_value(cli, "config");

    if (!file || access(file, R_OK) == 0)
        return true;
    (void)fprintf(stderr, "refrain: %s: %s\n", file, strerror(errno));
    return false;
}

static int cmd_config_check(const struct cli *cli)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    bool json = cli_has(cli, "json");
    struct config *conf = NULL;
    int r, status;

    if (!file_is_readable(cli))
        return EXIT_COULD_NOT;
    r = config_from_cli(cli, false, &conf, &report);
    config_free(conf);
    if (r < 0 && report.errors_n == 0)
        return EXIT_COULD_NOT; /* told */
    status = print_report(&report, json);
    if (status == EXIT_DONE && !json && report.n == 0)
        (void)puts("The configuration is good.");
    if (status == EXIT_DONE && (report.errors_n > 0 || (report.n > 0 && cli_has(cli, "strict"))))
        status = EXIT_FINDING;
    return status;
}

/* Onto standard error, errors and warnings. */
static void tell(const struct config_report *report)
{
    for (size_t i = 0; i < report->n; i++)
        (void)fprintf(stderr, "refrain: %s%s\n", report->faults[i].warning ? "warning: " : "",
                      report->faults[i].text);
}

static int cmd_config_show(const struct cli *cli)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);
    struct config *conf = NULL;
    int status;

    if (config_from_cli(cli, true, &conf, &report) < 0) {
        tell(&report);
        return EXIT_COULD_NOT;
    }
    status = cli_print(&out, config_show(conf, cli_has(cli, "json"), cli_has(cli, "changed"), &out));
    config_free(conf);
    return status;
}

static int cmd_config_reference(const struct cli *cli)
{
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);

    (void)cli;
    return cli_print(&out, config_show_reference(&out));
}

static int cmd_config_schema(const struct cli *cli)
{
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);

    (void)cli;
    return cli_print(&out, config_show_schema(&out));
}

struct config *config_for_remote(const struct cli *cli)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    struct config *conf = NULL;

    if (config_from_flags(cli, true, &conf, &report) == 0)
        return conf;
    tell(&report);
    return NULL;
}

/* -- rows -- */

static const struct cli_flag check_flags[] = {
    {"json", NULL, "Print JSON.", NULL},
    {"strict", NULL, "Take warnings for findings.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag show_flags[] = {
    {"json", NULL, "Print JSON.", NULL},
    {"changed", NULL, "Leave out what is built-in.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const check_lists[] = {config_flags, check_flags, NULL};
static const struct cli_flag *const show_lists[] = {config_flags, show_flags, NULL};
static const struct cli_flag *const no_lists[] = {NULL};

static const struct cli_example check_examples[] = {
    {"refrain config check --config refrain.yaml", NULL},
    {"refrain config check --config refrain.yaml --strict --json", "for continuous integration"},
    {NULL, NULL},
};
const struct command command_config_check = {
    .name = "config check",
    .args = "[FLAGS]",
    .help = "Say what is wrong or unwise in a configuration.",
    .group = GROUP_CONFIG,
    .flags = check_lists,
    .run = cmd_config_check,
    .finding = "there is a fault (with --strict: or a warning)",
    .examples = check_examples,
};

static const struct cli_example show_examples[] = {
    {"refrain config show --config refrain.yaml --changed", NULL},
    {"refrain config show --set log.level=warn --json", NULL},
    {NULL, NULL},
};
const struct command command_config_show = {
    .name = "config show",
    .args = "[FLAGS]",
    .help = "Print every option's value and where it comes from.",
    .group = GROUP_CONFIG,
    .flags = show_lists,
    .run = cmd_config_show,
    .examples = show_examples,
};

static const struct cli_example reference_examples[] = {{"refrain config reference | less", NULL},
                                                        {NULL, NULL}};
const struct command command_config_reference = {
    .name = "config reference",
    .args = "",
    .help = "Print the reference of all options, in Markdown.",
    .group = GROUP_CONFIG,
    .flags = no_lists,
    .run = cmd_config_reference,
    .examples = reference_examples,
};

static const struct cli_example schema_examples[] = {{"refrain config schema > refrain.schema.json", NULL},
                                                     {NULL, NULL}};
const struct command command_config_schema = {
    .name = "config schema",
    .args = "",
    .help = "Print the JSON Schema of configuration files.",
    .group = GROUP_CONFIG,
    .flags = no_lists,
    .run = cmd_config_schema,
    .examples = schema_examples,
};
