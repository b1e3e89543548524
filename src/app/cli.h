/*
 * cli - the command line: a table of commands, each a row that says its name, its flags and what it does.
 * Parsing,
 * `--help` and messages about what was not understood are made from the rows.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Exit status of every command. */
enum { EXIT_DONE = 0, EXIT_FINDING = 1, EXIT_COULD_NOT = 2 };

struct cli_flag {
    const char *name; /* without dashes */
    const char *arg;  /* "FILE"; NULL: it takes none */
    const char *help;
};

struct cli_given {
    const struct cli_flag *flag;
    const char *value; /* NULL when it takes none */
};

enum { CLI_FLAGS_MAX = 256, CLI_WORDS_MAX = 16 };
struct cli {
    const struct command *command;
    struct cli_given given[CLI_FLAGS_MAX];
    size_t given_n;
    const char *words[CLI_WORDS_MAX]; /* what is no flag */
    size_t words_n;
};

struct command {
    const char *name; /* "serve", "config check" */
    const char *args; /* "[FLAGS]" */
    const char *help;
    const struct cli_flag *const *flags; /* lists of them, NULL-terminated both ways */
    int (*run)(const struct cli *cli);
    int (*more_help)(void); /* printed below --help; NULL: nothing */
};

/** Finds the command in @argv, parses its flags, runs it. Returns the exit status. */
int cli_run(const struct command *commands, size_t commands_n, int argc, char **argv);

/** The last value given for a flag; NULL when it was not given. */
const char *cli_value(const struct cli *cli, const char *flag);
bool cli_has(const struct cli *cli, const char *flag);

/** Writes all of @out's bytes to standard output; EXIT_COULD_NOT when that or what made them failed. */
struct buf;
int cli_print(struct buf *out, int r);
