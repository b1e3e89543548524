#include "commands.h"
#include "refrain/base/attr.h"

static const struct cli_flag check_flags[] = {
    {"json", NULL, "Print JSON."},
    {"strict", NULL, "Take warnings for findings."},
    {NULL, NULL, NULL},
};
static const struct cli_flag show_flags[] = {
    {"json", NULL, "Print JSON."},
    {"changed", NULL, "Leave out what is built-in."},
    {NULL, NULL, NULL},
};
static const struct cli_flag *const serve_lists[] = {config_flags, NULL};
static const struct cli_flag *const no_lists[] = {NULL};
static const struct cli_flag *const check_lists[] = {config_flags, check_flags, NULL};
static const struct cli_flag *const show_lists[] = {config_flags, show_flags, NULL};

static const struct command commands[] = {
    {"serve", "[FLAGS]", "Serve: answer from the cache, ask upstream for the rest.", serve_lists, cmd_serve,
     cmd_serve_help},
    {"config check", "[FLAGS]", "Say what is wrong or unwise in a configuration.", check_lists,
     cmd_config_check, NULL},
    {"config show", "[FLAGS]", "Print every option's value and where it comes from.", show_lists,
     cmd_config_show, NULL},
    {"config reference", "", "Print the reference of all options, in Markdown.", no_lists,
     cmd_config_reference, NULL},
    {"config schema", "", "Print the JSON Schema of configuration files.", no_lists, cmd_config_schema, NULL},
};

int main(int argc, char **argv)
{
    return cli_run(commands, ARRAY_LEN(commands), argc, argv);
}
