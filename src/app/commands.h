/*
 * commands - the rows of the command table, each beside what it runs; one file a group of them. The order of
 * the overview is main.c's.
 */
#pragma once
#include "cli.h"

/* Groups of the overview. */
#define GROUP_RUN     "Run"
#define GROUP_WATCH   "Watch"
#define GROUP_ENTRIES "Entries"
#define GROUP_CONFIG  "Configuration"
#define GROUP_SHELL   "Shell and manual"

extern const struct command command_serve;      /* cmd_serve.c */
extern const struct command command_explain;    /* cmd_explain.c */
extern const struct command command_stats;      /* cmd_stats.c */
extern const struct command command_top;        /* cmd_top.c */
extern const struct command command_breakers;   /* cmd_breakers.c */
extern const struct command command_invalidate; /* cmd_entries.c */
extern const struct command command_keys;
extern const struct command command_get;
extern const struct command command_alerts; /* cmd_lists.c */
extern const struct command command_recommendations;
extern const struct command command_popular;
extern const struct command command_slow;
extern const struct command command_performance;
extern const struct command command_instances;
extern const struct command command_namespaces;
extern const struct command command_clients;
extern const struct command command_clients_new;  /* cmd_clients.c */
extern const struct command command_config_check; /* cmd_config.c */
extern const struct command command_config_show;
extern const struct command command_config_reference;
extern const struct command command_config_schema;
extern const struct command command_security_check; /* cmd_security.c */
extern const struct command command_completion;     /* cmd_shell.c */
extern const struct command command_man;

/* Flags of whatever reads a configuration. */
extern const struct cli_flag config_flags[];
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
