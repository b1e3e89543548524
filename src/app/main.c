#include "commands.h"
#include "refrain/base/digest.h"
#include "refrain/base/process.h"

/* In the order of the overview; one a line, so that additions do not meet. */
// clang-format off
static const struct command *const commands[] = {
    &command_serve,
    &command_stats,
    &command_top,
    &command_alerts,
    &command_recommendations,
    &command_performance,
    &command_slow,
    &command_breakers,
    &command_instances,
    &command_clients,
    &command_keys,
    &command_get,
    &command_popular,
    &command_namespaces,
    &command_invalidate,
    &command_explain,
    &command_config_check,
    &command_config_show,
    &command_config_reference,
    &command_config_schema,
    &command_clients_new,
    &command_security_check,
    &command_completion,
    &command_man,
    NULL,
};
// clang-format on

int main(int argc, char **argv)
{
    (void)process_standard_hold(); /* without a /dev/null there is nothing better to be done */
    digest_setup();
    return cli_run(commands, argc, argv);
}
