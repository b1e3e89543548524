/* man pages from the rows of the commands: man(7) macros, which groff and mandoc both take. */
#include "cli_roff.h"

#include <ctype.h>

#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

/* Text that no macro may be taken for, and no escape. */
static void put_text(FILE *to, struct slice text, bool line_begins)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];

        if (line_begins && i == 0 && (c == '.' || c == '\''))
            (void)fputs("\\&", to);
        switch (c) {
        case '\\':
            (void)fputs("\\e", to);
            break;
        case '-':
            (void)fputs("\\-", to);
            break;
        case '\'':
            (void)fputs("\\(aq", to);
            break;
        case '`':
            (void)fputs("\\(ga", to);
            break;
        case '^':
            (void)fputs("\\(ha", to);
            break;
        case '~':
            (void)fputs("\\(ti", to);
            break;
        default:
            (void)fputc(c, to);
        }
    }
}

static void put_line(FILE *to, const char *text)
{
    put_text(to, slice_str(text), true);
    (void)fputc('\n', to);
}

static bool is_shown(struct slice line)
{
    return line.len > 0 && line.data[0] == ' ';
}

/* Paragraphs; lines that begin with a space stand as they are. */
static void put_about(FILE *to, const char *about)
{
    struct slice rest = slice_str(about);
    bool shown = false, ended = true; /* inside of such lines; at the end of a paragraph */

    while (rest.data) {
        struct slice line = slice_cut(&rest, '\n');

        if (line.len == 0) {
            ended = true;
            continue;
        }
        if (is_shown(line) && !shown)
            (void)fputs(".PP\n.nf\n", to);
        else if (!is_shown(line) && shown)
            (void)fputs(".fi\n.PP\n", to);
        else if (!is_shown(line) && ended)
            (void)fputs(".PP\n", to);
        shown = is_shown(line);
        ended = false;
        put_text(to, line, true);
        (void)fputc('\n', to);
    }
    if (shown)
        (void)fputs(".fi\n", to);
}

static void put_flag(FILE *to, const struct cli_flag *f)
{
    (void)fputs(".TP\n\\fB\\-\\-", to);
    put_text(to, slice_str(f->name), false);
    (void)fputs("\\fR", to);
    if (f->arg) {
        (void)fputs(" \\fI", to);
        put_text(to, slice_str(f->arg), false);
        (void)fputs("\\fR", to);
    }
    (void)fputc('\n', to);
    put_line(to, f->help);
}

static void put_flags(FILE *to, const struct command *c)
{
    (void)fputs(".SH OPTIONS\n", to);
    for (const struct cli_flag *const *list = c->flags; *list; list++)
        for (const struct cli_flag *f = *list; f->name; f++)
            put_flag(to, f);
    put_flag(to, &cli_help_flag);
}

static void put_examples(FILE *to, const struct cli_example *e)
{
    if (!e)
        return;
    (void)fputs(".SH EXAMPLES\n", to);
    for (; e->line; e++) {
        (void)fputs(".TP\n", to);
        put_line(to, e->line);
        put_line(to, e->what ? e->what : "");
    }
}

static void put_exits(FILE *to, const char *finding)
{
    (void)fputs(".SH EXIT STATUS\n.TP\n0\nDone.\n", to);
    if (finding) {
        (void)fputs(".TP\n1\nDone, and ", to);
        put_text(to, slice_str(finding), false);
        (void)fputs(".\n", to);
    }
    (void)fputs(".TP\n2\nIt could not be done.\n", to);
}

/* "config check" is refrain-config-check(1). */
static void put_page_name(FILE *to, const char *name, bool upper)
{
    (void)fputs(upper ? "REFRAIN" : "refrain", to);
    if (name[0])
        (void)fputs("\\-", to);
    for (; *name; name++) {
        if (*name == ' ')
            (void)fputs("\\-", to);
        else
            (void)fputc(upper ? toupper((unsigned char)*name) : *name, to);
    }
}

static void put_head(FILE *to, const char *name)
{
    (void)fputs(".TH \"", to);
    put_page_name(to, name, true);
    (void)fprintf(to, "\" 1 \"\" \"Refrain %s\" \"Refrain\"\n.SH NAME\n", REFRAIN_VERSION);
    put_page_name(to, name, false);
    (void)fputs(" \\- ", to);
}

static void put_see_also(FILE *to, const struct command *const *commands)
{
    (void)fputs(".SH SEE ALSO\n", to);
    for (; *commands; commands++) {
        (void)fputs(".BR ", to);
        put_page_name(to, (*commands)->name, false);
        (void)fputs(commands[1] ? " (1),\n" : " (1)\n", to);
    }
}

void cli_roff_command(FILE *to, const struct command *c)
{
    put_head(to, c->name);
    put_line(to, c->help);
    (void)fputs(".SH SYNOPSIS\n\\fBrefrain ", to);
    put_text(to, slice_str(c->name), false);
    (void)fputs("\\fR ", to);
    put_line(to, c->args);
    (void)fputs(".SH DESCRIPTION\n", to);
    put_line(to, c->help);
    if (c->about)
        put_about(to, c->about);
    put_flags(to, c);
    put_examples(to, c->examples);
    put_exits(to, c->finding);
    (void)fputs(".SH SEE ALSO\n.BR refrain (1)\n", to);
}

void cli_roff_overview(FILE *to, const struct command *const *commands)
{
    put_head(to, "");
    (void)fputs(
        "a response cache in front of LLM APIs\n.SH SYNOPSIS\n\\fBrefrain\\fR \\fICOMMAND\\fR [FLAGS]\n"
        ".SH DESCRIPTION\nRefrain stands between clients of LLM APIs and those APIs. A repeat of a request "
        "is "
        "answered from\nmemory, from disk or from Redis; identical requests in flight share one call.\n"
        ".SH COMMANDS\n",
        to);
    for (size_t i = 0; commands[i]; i++) {
        (void)fputs(".TP\n\\fB", to);
        put_text(to, slice_str(commands[i]->name), false);
        (void)fputs("\\fR\n", to);
        put_line(to, commands[i]->help);
    }
    (void)fputs(
        ".SH OUTPUT\nOn a terminal tables are aligned and cut to its width, numbers have people\\(aqs units, "
        "and "
        "there are colours\nunless NO_COLOR is set. Elsewhere a table is a header and a line a row, cells "
        "separated by one tab, with the\nnames and values of the API. With \\-\\-json a command prints one "
        "JSON "
        "value.\n"
        ".SH EXIT STATUS\n.TP\n0\nDone.\n.TP\n1\nA finding.\n.TP\n2\nIt could not be done.\n"
        ".SH ENVIRONMENT\n.TP\nREFRAIN_CONFIG\nThe configuration file.\n"
        ".TP\nREFRAIN_GROUP__OPTION\nAny option, such as REFRAIN_TIERS__MEMORY__MAX_BYTES=1GiB.\n"
        ".TP\nNO_COLOR\nNo colours.\n",
        to);
    put_see_also(to, commands);
}
