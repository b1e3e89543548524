#include "screen.h"

#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termcap.h>
#include <unistd.h>

#include "text.h"

enum { ESCAPE_MS = 25, TEXT_BYTES_MAX = 2048 };

/* Signals are read, not handled, so that each is met where the terminal can be given back. */
static void signals_taken(sigset_t *out)
{
    static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};

    (void)sigemptyset(out);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        (void)sigaddset(out, taken[i]);
}

static void begin_colours(struct screen *s)
{
    if (!s->colours || start_color() == ERR || use_default_colors() == ERR) {
        s->colours = false;
        return;
    }
    (void)init_pair(TONE_GOOD, COLOR_GREEN, -1);
    (void)init_pair(TONE_WARN, COLOR_YELLOW, -1);
    (void)init_pair(TONE_BAD, COLOR_RED, -1);
}

struct screen *screen_new(const struct term *term)
{
    struct screen *s = calloc(1, sizeof(*s));
    const char *name = getenv("TERM");
    sigset_t taken;

    signals_taken(&taken);
    if (!s)
        abort();
    s->colours = term->colours;
    s->ascii = term->ascii;
    s->signals = signalfd(-1, &taken, SFD_NONBLOCK | SFD_CLOEXEC);
    (void)sigprocmask(SIG_BLOCK, &taken, NULL); /* before it is begun: nothing may end us in between */
    /* newterm would find out as well, but keep what it has begun with. */
    if (name && tgetent(NULL, name) == 1)
        s->handle = newterm(NULL, stdout, stdin);
    if (!s->handle) {
        (void)fprintf(
            stderr,
            "refrain: this terminal (TERM=%s) has no description here; `refrain stats --watch` needs none\n",
            name ? name : "");
        screen_free(s);
        return NULL;
    }
    (void)cbreak();
    (void)noecho();
    (void)nodelay(stdscr, TRUE);
    (void)keypad(stdscr, TRUE);
    (void)curs_set(0);
    (void)set_escdelay(ESCAPE_MS);
    begin_colours(s);
    return s;
}

void screen_free(struct screen *s)
{
    sigset_t taken;

    if (!s)
        return;
    if (s->handle) {
        (void)endwin();
        delscreen(s->handle);
    }
    if (s->signals >= 0)
        (void)close(s->signals);
    signals_taken(&taken);
    (void)sigprocmask(SIG_UNBLOCK, &taken, NULL);
    free(s);
}

static void take_size(void)
{
    struct winsize size = {0};

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        (void)resizeterm(size.ws_row, size.ws_col);
}

enum screen_event screen_next(struct screen *s, int *out_key)
{
    struct signalfd_siginfo signal;
    struct pollfd gone = {STDIN_FILENO, POLLIN, 0};
    int key;

    *out_key = 0;
    while (read(s->signals, &signal, sizeof(signal)) == (ssize_t)sizeof(signal)) {
        if (signal.ssi_signo == SIGWINCH) {
            take_size();
            return SCREEN_RESIZED;
        }
        *out_key = (int)signal.ssi_signo;
        return SCREEN_ENDED;
    }
    key = getch();
    if (key == ERR)
        return poll(&gone, 1, 0) > 0 && (gone.revents & (POLLHUP | POLLERR | POLLNVAL)) ? SCREEN_ENDED
                                                                                        : SCREEN_NOTHING;
    if (key == KEY_RESIZE)
        return SCREEN_RESIZED;
    *out_key = key;
    return SCREEN_KEY;
}

void screen_fds(const struct screen *s, struct pollfd *fds)
{
    fds[0] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
    fds[1] = (struct pollfd){s->signals, POLLIN, 0};
}

/* -- drawing -- */

static attr_t attribute(const struct screen *s, enum tone tone)
{
    switch (tone) {
    case TONE_STRONG:
        return A_BOLD;
    case TONE_FAINT:
        return A_DIM;
    case TONE_GOOD:
    case TONE_WARN:
        return s->colours ? (attr_t)COLOR_PAIR(tone) : A_NORMAL;
    case TONE_BAD:
        return (s->colours ? (attr_t)COLOR_PAIR(tone) : A_NORMAL) | A_BOLD;
    case TONE_PLAIN:
        break;
    }
    return A_NORMAL;
}

void screen_begin(struct screen *s)
{
    (void)erase();
    getmaxyx(stdscr, s->rows, s->columns);
    s->row = s->column = 0;
}

static void put_at(struct screen *s, int row, enum tone tone, const char *text)
{
    char clean[TEXT_BYTES_MAX + TEXT_FIT_ROOM];

    if (s->column >= s->columns)
        return;
    text_clean(text, s->ascii, clean, TEXT_BYTES_MAX);
    text_fit(clean, (size_t)(s->columns - s->column), s->ascii);
    (void)attron(attribute(s, tone));
    (void)mvaddstr(row, s->column, clean);
    (void)attroff(attribute(s, tone));
    s->column += (int)text_columns(clean);
}

void screen_put(struct screen *s, enum tone tone, const char *fmt, ...)
{
    char text[TEXT_BYTES_MAX];
    va_list args;

    if (s->row >= s->rows - 1)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    put_at(s, s->row, tone, text);
}

void screen_line_end(struct screen *s)
{
    s->row++;
    s->column = 0;
}

void screen_end(struct screen *s, const char *footer)
{
    s->column = 0;
    if (s->rows > 0)
        put_at(s, s->rows - 1, TONE_FAINT, footer);
    (void)refresh();
}

int screen_rows_left(const struct screen *s)
{
    return s->row < s->rows - 1 ? s->rows - 1 - s->row : 0;
}
