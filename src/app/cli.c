#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option.h"
#include "refrain/base/attr.h"

/* How many words of @argv the command's name takes; 0 when it is another. */
static int name_words(const struct command *c, int argc, const char *const *argv)
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

/* The longest name that fits: "clients new" goes before "clients". */
const struct command *cli_find(const struct command *const *commands, int argc, const char *const *argv,
                               int *out_words)
{
    const struct command *found = NULL;

    *out_words = 0;
    for (; *commands; commands++) {
        int words = name_words(*commands, argc, argv);

        if (words > *out_words) {
            found = *commands;
            *out_words = words;
        }
    }
    return found;
}

static const struct cli_flag *find_flag(const struct command *c, struct slice name)
{
    if (slice_eq(name, slice_str(cli_help_flag.name)))
        return &cli_help_flag;
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            if (slice_eq(slice_str(f->name), name))
                return f;
    return NULL;
}

/* -- what was not understood -- */

static int complain(const char *what, const char *given, const char *meant_before, const char *meant)
{
    (void)fprintf(stderr, "refrain: %s: %s%s%s%s%s\n", given, what, meant ? "; did you mean " : "",
                  meant ? meant_before : "", meant ? meant : "", meant ? "?" : "");
    return EXIT_COULD_NOT;
}

static int unknown_command(const struct command *const *commands, int argc, char **argv)
{
    const char *meant = NULL;
    unsigned distance, best = UINT_MAX;
    bool alone = argc == 1, one_word = alone || argv[1][0] == '-';
    char given[128], group[64];

    (void)snprintf(group, sizeof(group), "%s ", argv[0]);
    for (size_t i = 0; commands[i]; i++)
        if (strncmp(commands[i]->name, group, strlen(group)) == 0 && one_word) {
            cli_print_commands(alone ? stderr : stdout, commands, group);
            return alone ? EXIT_COULD_NOT : EXIT_DONE;
        }
    (void)snprintf(given, sizeof(given), "%s%s%s", argv[0], one_word ? "" : " ", one_word ? "" : argv[1]);
    for (size_t i = 0; commands[i]; i++) {
        const char *wrote = strchr(commands[i]->name, ' ') ? given : argv[0];

        if (text_is_near(slice_str(wrote), slice_str(commands[i]->name), &distance) && distance < best) {
            meant = commands[i]->name;
            best = distance;
        }
    }
    if (!meant)
        return complain("no such command; `refrain --help` lists them", given, "", NULL);
    return complain("no such command", strchr(meant, ' ') ? given : argv[0], "refrain ", meant);
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
    if (meant)
        return complain("no such flag", given, "--", meant);
    (void)fprintf(stderr, "refrain: %s: no such flag; `refrain %s --help` lists them\n", given, c->name);
    return EXIT_COULD_NOT;
}

static bool is_choice(const struct cli_flag *flag, const char *value)
{
    for (const char *const *c = flag->choices; *c; c++)
        if (strcmp(*c, value) == 0)
            return true;
    return false;
}

static int not_a_choice(const struct cli_flag *flag, const char *value)
{
    (void)fprintf(stderr, "refrain: --%s %s: expected one of", flag->name, value);
    for (const char *const *c = flag->choices; *c; c++)
        (void)fprintf(stderr, "%s %s", c == flag->choices ? "" : ",", *c);
    (void)fputc('\n', stderr);
    return EXIT_COULD_NOT;
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
    if (flag->choices && !is_choice(flag, value.data))
        return -not_a_choice(flag, value.data);
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
        return cli_print_help(cli->command);
    return cli->command->run(cli);
}

int cli_run(const struct command *const *commands, int argc, char **argv)
{
    struct cli cli = {.commands = commands};
    int words;

    argc--;
    argv++;
    if (argc == 0) {
        cli_print_overview(stderr, commands);
        return EXIT_COULD_NOT;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "help") == 0) {
        cli_print_overview(stdout, commands);
        return EXIT_DONE;
    }
    if (strcmp(argv[0], "--version") == 0) {
        (void)printf("refrain %s\n", REFRAIN_VERSION);
        return EXIT_DONE;
    }
    cli.command = cli_find(commands, argc, (const char *const *)argv, &words);
    if (!cli.command)
        return unknown_command(commands, argc, argv);
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

bool cli_number(const struct cli *cli, const char *flag, unsigned long min, unsigned long max,
                unsigned long otherwise, unsigned long *out)
{
    const char *text = cli_value(cli, flag);
    char *end = NULL;

    *out = otherwise;
    if (!text)
        return true;
    errno = 0;
    *out = strtoul(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && errno == 0 && *out >= min && *out <= max)
        return true;
    (void)fprintf(stderr, "refrain: --%s %s: expected a number", flag, text);
    if (max != ULONG_MAX)
        (void)fprintf(stderr, " from %lu to %lu", min, max);
    (void)fputc('\n', stderr);
    return false;
}

int cli_no_words(const struct cli *cli)
{
    (void)fprintf(stderr, "refrain: %s: %s: expected flags alone; --help tells them\n", cli->command->name,
                  cli->words[0]);
    return EXIT_COULD_NOT;
}

int cli_print(struct buf *out, int r)
{
    if (r == 0 && (out->len == 0 || fwrite(out->data, 1, out->len, stdout) == out->len) &&
        fflush(stdout) == 0)
        return EXIT_DONE;
    (void)fputs("refrain: could not write all of it\n", stderr);
    return EXIT_COULD_NOT;
}
