#include "commands.h"
#include "refrain/base/attr.h"
#include "refrain/base/digest.h"
#include "remote.h"

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
static const struct cli_flag explain_flags[] = {
    {"json", NULL, "Print JSON."},
    {"offline", NULL, "Ask no instance; say what the configuration tells."},
    {NULL, NULL, NULL},
};
static const struct cli_flag breakers_flags[] = {
    {"json", NULL, "Print JSON."},
    {NULL, NULL, NULL},
};
static const struct cli_flag *const explain_lists[] = {explain_flags, remote_flags, config_file_flags, NULL};
static const struct cli_flag *const breakers_lists[] = {breakers_flags, remote_flags, config_file_flags,
                                                        NULL};
static const struct cli_flag *const invalidate_lists[] = {invalidate_flags, remote_flags, config_file_flags,
                                                          NULL};
static const struct cli_flag *const keys_lists[] = {keys_flags, remote_flags, config_file_flags, NULL};
static const struct cli_flag *const get_lists[] = {get_flags, remote_flags, config_file_flags, NULL};
static const struct cli_flag *const serve_lists[] = {config_flags, NULL};
static const struct cli_flag *const no_lists[] = {NULL};
static const struct cli_flag *const check_lists[] = {config_flags, check_flags, NULL};
static const struct cli_flag *const show_lists[] = {config_flags, show_flags, NULL};

static const struct command commands[] = {
    {"serve", "[FLAGS]", "Serve: answer from the cache, ask upstream for the rest.", serve_lists, cmd_serve,
     cmd_serve_help},
    {"explain", "FILE [FLAGS]", "Say what would become of a request, and why.", explain_lists, cmd_explain,
     cmd_explain_help},
    {"breakers", "[open|close|reset UPSTREAM KIND] [FLAGS]",
     "List the breakers of an instance, or tell one what to do.", breakers_lists, cmd_breakers,
     cmd_breakers_help},
    {"invalidate", "[FLAGS]", "Have entries go, from every tier of every instance.", invalidate_lists,
     cmd_invalidate, cmd_invalidate_help},
    {"keys", "[FLAGS]", "List entries.", keys_lists, cmd_keys, cmd_keys_help},
    {"get", "ID [FLAGS]", "Tell of one entry, or print its body.", get_lists, cmd_get, cmd_get_help},
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
    digest_setup();
    return cli_run(commands, ARRAY_LEN(commands), argc, argv);
}
