#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "refrain/base/clock.h"
#include "text.h"

enum { PATIENCE_MS = 1000, LIVE_EVERY_MS = 100, PLAIN_EVERY_MS = 5000, BAR_WIDTH = 24 };

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
    int64_t now_ms = clock_mono_ms();

    *p = (struct progress){.what = what,
                           .total = total,
                           .begun_ms = now_ms,
                           .told_ms = now_ms,
                           .live = isatty(STDERR_FILENO) == 1};
}

void progress_begin_uncounted(struct progress *p, const char *what)
{
    progress_begin(p, what, 0);
    p->uncounted = true;
}

static void print_bar(const struct progress *p)
{
    double ratio = (double)p->done / (double)p->total;
    int full = (int)((ratio > 1 ? 1 : ratio) * BAR_WIDTH);

    (void)fputc('[', stderr);
    for (int i = 0; i < BAR_WIDTH; i++)
        (void)fputc(i < full ? '#' : '.', stderr);
    (void)fprintf(stderr, "] %3.0f %%  ", ratio * 100);
}

/* "12.3k of 45.6k entries listed, 3.21k/s, 10 s left"; "entries go, 10 s so far" */
static void print_line(const struct progress *p, double seconds)
{
    double rate = seconds > 0 ? (double)p->done / seconds : 0;

    if (p->uncounted) {
        (void)fprintf(stderr, "%s, %s so far", p->what, text_of_seconds((double)(int64_t)seconds).text);
        return;
    }
    (void)fputs(text_of_count((double)p->done).text, stderr);
    if (p->total > 0)
        (void)fprintf(stderr, " of %s", text_of_count((double)p->total).text);
    (void)fprintf(stderr, " %s, %s/s", p->what, text_of_count(rate).text);
    if (p->total > p->done && rate > 0)
        (void)fprintf(stderr, ", %s left",
                      text_of_seconds((double)(uint64_t)((double)(p->total - p->done) / rate)).text);
    else
        (void)fprintf(stderr, ", %s so far", text_of_seconds((double)(int64_t)seconds).text);
}

void progress_at(struct progress *p, uint64_t done)
{
    int64_t now_ms = clock_mono_ms();

    p->done = done;
    if (now_ms - p->begun_ms < PATIENCE_MS ||
        now_ms - p->told_ms < (p->live ? LIVE_EVERY_MS : PLAIN_EVERY_MS))
        return;
    p->told_ms = now_ms;
    if (p->live)
        (void)fputs("\r\033[K", stderr);
    else
        (void)fputs("refrain: ", stderr);
    if (p->live && p->total > 0)
        print_bar(p);
    print_line(p, (double)(now_ms - p->begun_ms) / 1000);
    if (!p->live)
        (void)fputc('\n', stderr);
    p->shown = p->live;
    (void)fflush(stderr);
}

void progress_pause(struct progress *p)
{
    if (p->shown)
        (void)fputs("\r\033[K", stderr);
    p->shown = false;
}

void progress_end(struct progress *p)
{
    progress_pause(p);
}
