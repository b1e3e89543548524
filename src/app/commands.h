/*
 * commands - what the rows of the command table run; one file a group of them.
 */
#pragma once
#include "cli.h"

/* Flags of whatever reads a configuration. */
extern const struct cli_flag config_flags[];

struct config;
struct config_report;
/** Reads the configuration that the flags and the environment give. Errors: as config_load. */
int config_from_cli(const struct cli *cli, bool upstream_optional, struct config **out,
                    struct config_report *report);

int cmd_serve(const struct cli *cli);
int cmd_serve_help(void);
int cmd_config_check(const struct cli *cli);
int cmd_config_show(const struct cli *cli);
int cmd_config_reference(const struct cli *cli);
int cmd_config_schema(const struct cli *cli);
