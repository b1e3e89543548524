/*
 * cli - the command line: a table of commands, each a row that says its name, its flags, what it does and how
 * it is used. Parsing, `--help`, messages about what was not understood, completions and man pages are made
 * from the rows.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Exit status of every command. */
enum { EXIT_DONE = 0, EXIT_FINDING = 1, EXIT_COULD_NOT = 2 };

struct cli_flag {
    const char *name; /* without dashes */
    const char *arg;  /* "FILE"; NULL: it takes none. FILE is completed as one, NAME=VALUE as an option */
    const char *help;
    const char *const *choices; /* the values that there are, NULL-terminated; NULL: any */
};

struct cli_given {
    const struct cli_flag *flag;
    const char *value; /* NULL when it takes none */
};

enum { CLI_FLAGS_MAX = 256, CLI_WORDS_MAX = 16 };
struct cli {
    const struct command *const *commands; /* all of them, NULL-terminated */
    const struct command *command;
    struct cli_given given[CLI_FLAGS_MAX];
    size_t given_n;
    const char *words[CLI_WORDS_MAX]; /* what is no flag */
    size_t words_n;
};

struct cli_example {
    const char *line, *what; /* what it does; NULL: it speaks for itself */
};

/* What a command's words are, for completions. */
enum cli_words { CLI_WORDS_NONE, CLI_WORDS_FILE, CLI_WORDS_CHOICE, CLI_WORDS_COMMAND };

struct command {
    const char *name;                    /* "serve", "config check" */
    const char *args;                    /* "[FLAGS]" */
    const char *help;                    /* one sentence */
    const char *group;                   /* of the overview: "Entries" */
    const struct cli_flag *const *flags; /* lists of them, NULL-terminated both ways */
    int (*run)(const struct cli *cli);
    const char *about;   /* more: paragraphs with a blank line between; a line that begins with a space stands
                            as   it is. NULL: nothing */
    const char *finding; /* when it exits with 1: "there is no such entry"; NULL: never */
    const struct cli_example *examples; /* until a NULL line; NULL: none */
    enum cli_words words;
    const char *const *word_choices; /* of CLI_WORDS_CHOICE, NULL-terminated */
    int (*more_help)(void);          /* printed below --help; NULL: nothing */
};

/** Finds the command in @argv among @commands (NULL-terminated), parses its flags, runs it. Returns the exit
 * status. */
int cli_run(const struct command *const *commands, int argc, char **argv);

/** The last value given for a flag; NULL when it was not given. */
const char *cli_value(const struct cli *cli, const char *flag);
bool cli_has(const struct cli *cli, const char *flag);
/** A whole number given for a flag, from @min to @max; @otherwise where it was not given. false after telling
 * that it is none. */
bool cli_number(const struct cli *cli, const char *flag, unsigned long min, unsigned long max,
                unsigned long otherwise, unsigned long *out);
/** The command that the first words of @argv name, and how many words that took; NULL: none. */
const struct command *cli_find(const struct command *const *commands, int argc, const char *const *argv,
                               int *out_words);
/** Tells of a command that takes no words. EXIT_COULD_NOT. */
int cli_no_words(const struct cli *cli);

/* --help, which every command has. */
extern const struct cli_flag cli_help_flag;
/** Prints all commands by group. */
void cli_print_overview(FILE *to, const struct command *const *commands);
/** Prints those whose name begins with @first. */
void cli_print_commands(FILE *to, const struct command *const *commands, const char *first);
/** Prints --help of one. Returns the exit status. */
int cli_print_help(const struct command *c);

/** Writes all of @out's bytes to standard output; EXIT_COULD_NOT when that or what made them failed. */
struct buf;
int cli_print(struct buf *out, int r);
