/* --help: the overview of commands and the page of one, made from their rows. */
#include <string.h>

#include "cli.h"
#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

enum { LINE_WIDTH = 96, FLAG_WIDTH = 24, EXAMPLE_WIDTH = 50 };

const struct cli_flag cli_help_flag = {"help", NULL, "Print this.", NULL};

void cli_print_commands(FILE *to, const struct command *const *commands, const char *first)
{
    for (; *commands; commands++)
        if (strncmp((*commands)->name, first, strlen(first)) == 0)
            (void)fprintf(to, "  %-18s %s\n", (*commands)->name, (*commands)->help);
}

/* True for the first command of its group. */
static bool begins_group(const struct command *const *commands, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(commands[i]->group, commands[at]->group) == 0)
            return false;
    return true;
}

void cli_print_overview(FILE *to, const struct command *const *commands)
{
    (void)fprintf(to,
                  "Refrain %s: a response cache in front of LLM APIs.\n\nUsage: refrain COMMAND [FLAGS]\n",
                  REFRAIN_VERSION);
    for (size_t i = 0; commands[i]; i++) {
        if (!begins_group(commands, i))
            continue;
        (void)fprintf(to, "\n%s\n", commands[i]->group);
        for (size_t k = i; commands[k]; k++)
            if (strcmp(commands[k]->group, commands[i]->group) == 0)
                (void)fprintf(to, "  %-18s %s\n", commands[k]->name, commands[k]->help);
    }
    (void)fputs(
        "\n`refrain COMMAND --help` tells a command's flags and shows examples; `refrain --version` what "
        "this is.\nExit status: 0 done, 1 a finding, 2 it could not be done.\n",
        to);
}

/* One line of @text, broken between words. */
static void print_filled(struct slice text, size_t width)
{
    size_t column = 0;

    while (text.data) {
        struct slice word = slice_cut(&text, ' ');

        if (column > 0 && column + 1 + word.len > width) {
            (void)putchar('\n');
            column = 0;
        }
        (void)printf("%s%.*s", column > 0 ? " " : "", (int)word.len, word.data);
        column += word.len + (column > 0);
    }
    (void)putchar('\n');
}

static void print_about(const char *about)
{
    struct slice rest = slice_str(about);

    while (rest.data) {
        struct slice line = slice_cut(&rest, '\n');

        if (line.len == 0 || line.data[0] == ' ')
            (void)printf("%.*s\n", (int)line.len, line.data);
        else
            print_filled(line, LINE_WIDTH);
    }
}

static void print_flag(const struct cli_flag *f)
{
    char left[64];

    (void)snprintf(left, sizeof(left), "--%s%s%s", f->name, f->arg ? " " : "", f->arg ? f->arg : "");
    (void)printf("  %-*s %s\n", FLAG_WIDTH, left, f->help);
}

static void print_examples(const struct cli_example *e)
{
    if (!e)
        return;
    (void)fputs("\nExamples\n", stdout);
    for (; e->line; e++)
        if (e->what && strlen(e->line) > EXAMPLE_WIDTH)
            (void)printf("  %s\n  %-*s %s\n", e->line, EXAMPLE_WIDTH, "", e->what);
        else if (e->what)
            (void)printf("  %-*s %s\n", EXAMPLE_WIDTH, e->line, e->what);
        else
            (void)printf("  %s\n", e->line);
}

int cli_print_help(const struct command *c)
{
    (void)printf("Usage: refrain %s%s%s\n\n%s\n\n", c->name, c->args[0] ? " " : "", c->args, c->help);
    if (c->about)
        print_about(c->about);
    (void)fputs("Flags\n", stdout);
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            print_flag(f);
    print_flag(&cli_help_flag);
    print_examples(c->examples);
    if (c->finding)
        (void)printf("\nExits with 1 when %s, with 2 when it could not be done.\n", c->finding);
    return c->more_help ? c->more_help() : EXIT_DONE;
}
