/*
 * commands - what the rows of the command table run; one file a group of them.
 */
#pragma once
#include "cli.h"

/* Flags of whatever reads a configuration. */
extern const struct cli_flag config_flags[];
/* Flags of cmd_entries.c's commands. */
extern const struct cli_flag invalidate_flags[], keys_flags[], get_flags[];
/* … only to learn where an instance is. */
extern const struct cli_flag config_file_flags[];

struct config;
struct config_report;
/** Reads the configuration that the flags and the environment give. Errors: as config_load. */
int config_from_cli(const struct cli *cli, bool upstream_optional, struct config **out,
                    struct config_report *report);

/** The configuration of an instance that a command wants to talk to; warnings are left to `config check`.
 * NULL after telling why not. */
struct config *config_for_remote(const struct cli *cli);

int cmd_serve(const struct cli *cli);
int cmd_serve_help(void);
int cmd_explain(const struct cli *cli);
int cmd_explain_help(void);
int cmd_breakers(const struct cli *cli);
int cmd_breakers_help(void);
int cmd_invalidate(const struct cli *cli);
int cmd_invalidate_help(void);
int cmd_keys(const struct cli *cli);
int cmd_keys_help(void);
int cmd_get(const struct cli *cli);
int cmd_get_help(void);
int cmd_config_check(const struct cli *cli);
int cmd_config_show(const struct cli *cli);
int cmd_config_reference(const struct cli *cli);
int cmd_config_schema(const struct cli *cli);
