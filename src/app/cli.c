#include "cli.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "option.h"
#include "refrain/base/attr.h"

static const struct cli_flag help_flag = {"help", NULL, "Print this."};

/* How many words of @argv the command's name takes; 0 when it is another. */
static int name_words(const struct command *c, int argc, char **argv)
{
    struct slice rest = slice_str(c->name);
    int n = 0;

    while (rest.data) {
        if (n == argc || !slice_eq(slice_cut(&rest, ' '), slice_str(argv[n])))
            return 0;
        n++;
    }
    return n;
}

static const struct command *find_command(const struct command *commands, size_t commands_n, int argc,
                                          char **argv, int *out_words)
{
    for (size_t i = 0; i < commands_n; i++) {
        *out_words = name_words(&commands[i], argc, argv);
        if (*out_words > 0)
            return &commands[i];
    }
    return NULL;
}

static const struct cli_flag *find_flag(const struct command *c, struct slice name)
{
    if (slice_eq(name, slice_str(help_flag.name)))
        return &help_flag;
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            if (slice_eq(slice_str(f->name), name))
                return f;
    return NULL;
}

/* -- help -- */

/* Commands whose name begins with @first, "" for all. */
static void print_commands(FILE *to, const struct command *commands, size_t commands_n, const char *first)
{
    for (size_t i = 0; i < commands_n; i++)
        if (strncmp(commands[i].name, first, strlen(first)) == 0)
            (void)fprintf(to, "  %-18s %s\n", commands[i].name, commands[i].help);
}

static void print_overview(FILE *to, const struct command *commands, size_t commands_n)
{
    (void)fprintf(to,
                  "Refrain %s: a response cache in front of LLM APIs.\n\nUsage: refrain COMMAND [FLAGS]\n\n",
                  REFRAIN_VERSION);
    print_commands(to, commands, commands_n, "");
    (void)fputs("\n`refrain COMMAND --help` tells a command's flags; `refrain --version` what this is.\n"
                "Exit status: 0 done, 1 a finding, 2 could not.\n",
                to);
}

static void print_flag(const struct cli_flag *f)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "--%s%s%s", f->name, f->arg ? " " : "", f->arg ? f->arg : "");
    (void)printf("  %-24s %s\n", left, f->help);
}

static int print_help(const struct command *c)
{
    (void)printf("Usage: refrain %s %s\n\n%s\n\n", c->name, c->args, c->help);
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            print_flag(f);
    print_flag(&help_flag);
    return c->more_help ? c->more_help() : EXIT_DONE;
}

/* -- what was not understood -- */

static int complain(const char *what, const char *given, const char *meant_before, const char *meant)
{
    (void)fprintf(stderr, "refrain: %s: %s%s%s%s%s\n", given, what, meant ? "; did you mean " : "",
                  meant ? meant_before : "", meant ? meant : "", meant ? "?" : "");
    return EXIT_COULD_NOT;
}

static int unknown_command(const struct command *commands, size_t commands_n, int argc, char **argv)
{
    const char *meant = NULL;
    unsigned distance, best = UINT_MAX;
    bool alone = argc == 1;
    char given[128], group[64];

    (void)snprintf(group, sizeof(group), "%s ", argv[0]);
    for (size_t i = 0; i < commands_n; i++)
        if (strncmp(commands[i].name, group, strlen(group)) == 0 && (alone || argv[1][0] == '-')) {
            print_commands(alone ? stderr : stdout, commands, commands_n, group);
            return alone ? EXIT_COULD_NOT : EXIT_DONE;
        }
    (void)snprintf(given, sizeof(given), "%s%s%s", argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
    for (size_t i = 0; i < commands_n; i++) {
        const char *wrote = strchr(commands[i].name, ' ') ? given : argv[0];

        if (text_is_near(slice_str(wrote), slice_str(commands[i].name), &distance) && distance < best) {
            meant = commands[i].name;
            best = distance;
        }
    }
    return complain("no such command", argc > 1 && !meant ? given : argv[0], "refrain ", meant);
}

static int unknown_flag(const struct command *c, const char *given, struct slice name)
{
    unsigned distance, best = UINT_MAX;
    const char *meant = NULL;

    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            if (text_is_near(name, slice_str(f->name), &distance) && distance < best) {
                meant = f->name;
                best = distance;
            }
    return complain("no such flag", given, "--", meant);
}

/* -- parsing -- */

/* One argument, and its value when that is the next one. Returns how many were taken, or minus an exit
 * status. */
static int parse_one(struct cli *cli, int argc, char **argv)
{
    struct slice value = slice_str(argv[0]), name;
    const struct cli_flag *flag;
    int taken = 1;

    if (strcmp(argv[0], "-h") == 0)
        value = SLICE_OF("--help");
    if (!slice_starts(value, SLICE_OF("-")) || value.len == 1) {
        if (cli->words_n == CLI_WORDS_MAX)
            return -complain("one word too many", argv[0], "", NULL);
        cli->words[cli->words_n++] = argv[0];
        return 1;
    }
    value = slice_skip(value, slice_starts(value, SLICE_OF("--")) ? 2 : 1);
    name = slice_cut(&value, '=');
    flag = find_flag(cli->command, name);
    if (!flag)
        return -unknown_flag(cli->command, argv[0], name);
    if (!flag->arg && value.data)
        return -complain("takes no value", argv[0], "", NULL);
    if (flag->arg && !value.data) {
        if (argc < 2)
            return -complain("wants a value", argv[0], "", NULL);
        value = slice_str(argv[1]);
        taken = 2;
    }
    if (cli->given_n == CLI_FLAGS_MAX)
        return -complain("one flag too many", argv[0], "", NULL);
    cli->given[cli->given_n++] = (struct cli_given){flag, flag->arg ? value.data : NULL};
    return taken;
}

static int parse_and_run(struct cli *cli, int argc, char **argv)
{
    for (int i = 0, taken; i < argc; i += taken) {
        taken = parse_one(cli, argc - i, argv + i);
        if (taken < 0)
            return -taken;
    }
    if (cli_has(cli, "help"))
        return print_help(cli->command);
    return cli->command->run(cli);
}

int cli_run(const struct command *commands, size_t commands_n, int argc, char **argv)
{
    struct cli cli = {0};
    int words;

    argc--;
    argv++;
    if (argc == 0) {
        print_overview(stderr, commands, commands_n);
        return EXIT_COULD_NOT;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "help") == 0) {
        print_overview(stdout, commands, commands_n);
        return EXIT_DONE;
    }
    if (strcmp(argv[0], "--version") == 0) {
        (void)printf("refrain %s\n", REFRAIN_VERSION);
        return EXIT_DONE;
    }
    cli.command = find_command(commands, commands_n, argc, argv, &words);
    if (!cli.command)
        return unknown_command(commands, commands_n, argc, argv);
    return parse_and_run(&cli, argc - words, argv + words);
}

const char *cli_value(const struct cli *cli, const char *flag)
{
    const char *value = NULL;

    for (size_t i = 0; i < cli->given_n; i++)
        if (strcmp(cli->given[i].flag->name, flag) == 0)
            value = cli->given[i].value;
    return value;
}

bool cli_has(const struct cli *cli, const char *flag)
{
    for (size_t i = 0; i < cli->given_n; i++)
        if (strcmp(cli->given[i].flag->name, flag) == 0)
            return true;
    return false;
}

int cli_print(struct buf *out, int r)
{
    if (r == 0 && (out->len == 0 || fwrite(out->data, 1, out->len, stdout) == out->len) &&
        fflush(stdout) == 0)
        return EXIT_DONE;
    (void)fputs("refrain: could not write all of it\n", stderr);
    return EXIT_COULD_NOT;
}
