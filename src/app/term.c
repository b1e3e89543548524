#include "term.h"

#include <langinfo.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "text.h"

static const char *const color_choices[] = {"auto", "always", "never", NULL};

const struct cli_flag output_flags[] = {
    {"json", NULL, "Print JSON: one value, as the API has it.", NULL},
    {"color", "WHEN", "auto (on a terminal, unless NO_COLOR is set), always or never.", color_choices},
    {NULL, NULL, NULL, NULL},
};

static size_t columns_of(int fd)
{
    const char *said = getenv("COLUMNS");
    struct winsize size = {0};

    if (said && atoi(said) > 0)
        return (size_t)atoi(said);
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : TERM_WIDTH_DEFAULT;
}

/* https://no-color.org: set and not empty. */
static bool wants_colours(const struct cli *cli, bool live)
{
    const char *when = cli_value(cli, "color"), *none = getenv("NO_COLOR"), *kind = getenv("TERM");

    if (when && strcmp(when, "auto") != 0)
        return strcmp(when, "always") == 0;
    return live && !(none && none[0]) && kind && strcmp(kind, "dumb") != 0;
}

void term_init(struct term *t, const struct cli *cli)
{
    (void)setlocale(LC_CTYPE, "");
    t->live = isatty(STDOUT_FILENO) == 1;
    t->colours = wants_colours(cli, t->live);
    t->width = t->live ? columns_of(STDOUT_FILENO) : SIZE_MAX;
    t->ascii = t->live && strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
}

const char *term_tone(const struct term *t, enum tone tone)
{
    static const char *const codes[] = {
        [TONE_PLAIN] = "\033[0m", [TONE_STRONG] = "\033[1m", [TONE_FAINT] = "\033[2m",
        [TONE_GOOD] = "\033[32m", [TONE_WARN] = "\033[33m",  [TONE_BAD] = "\033[31m",
    };

    return t->colours ? codes[tone] : "";
}

void term_print(const struct term *t, enum tone tone, const char *text)
{
    (void)printf("%s%s%s", tone == TONE_PLAIN ? "" : term_tone(t, tone), text,
                 tone == TONE_PLAIN ? "" : term_tone(t, TONE_PLAIN));
}

void term_bar(const struct term *t, double ratio, size_t columns, char *out, size_t cap)
{
    size_t full = ratio <= 0 ? 0 : ratio >= 1 ? columns : (size_t)(ratio * (double)columns + 0.5), len = 0;

    for (size_t i = 0; i < columns; i++) {
        const char *cell = t->ascii ? (i < full ? "#" : ".") : (i < full ? "█" : "░");

        if (len + strlen(cell) + 1 > cap)
            break;
        memcpy(out + len, cell, strlen(cell));
        len += strlen(cell);
    }
    out[len] = '\0';
}
