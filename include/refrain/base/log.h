/*
 * log - one line an event: a JSON object, or text for eyes. Fields are typed values, never format strings, so
 * a line is always well formed and nothing is formatted that the level leaves out.
 *
 * Lines gather in a buffer of the calling thread and leave it whole, in one write: log_event at once,
 * log_buffered when 16 KiB have gathered or at log_flush. A sink that would block loses lines, which are
 * counted and told of later; it never holds a loop. The sink is the one mutable global of the program: a log
 * is worth having before and after everything else.
 *
 * Prompts, answers and credentials are no fields.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_JSON, LOG_TEXT };

/* A text longer than this is cut (and ends in "..."); fields that do not fit the line are left out of it. */
enum { LOG_TEXT_BYTES_MAX = 1024, LOG_LINE_BYTES_MAX = 8192, LOG_BLOCK_BYTES = 16384 };

struct log_conf {
    enum log_format format;
    enum log_level level; /* lines below it are not written */
    const char *file;     /* appended to, made with mode 0640; NULL or "": standard error */
};

/* Takes out of a text what must not be in a log: writes the rest to @out, as much of it as fits @cap, and
 * returns how many bytes. Called on whatever thread logs. */
struct log_redact {
    size_t (*redact)(const void *arg, struct slice text, char *out, size_t cap);
    const void *arg;
};
/** From now on for every text value; NULL: none. Others may be in the one before for a while yet: both
 * outlive all threads that log. */
void log_set_redact(const struct log_redact *redact);

/**
 * Directs the log; until the first call it is text from `info` on, on standard error. May be called again.
 * Errors: negative errno when the file cannot be opened; the log stays what it was. Threads: any.
 */
int log_open(const struct log_conf *conf);
/** Opens the file anew, after it was renamed for rotation. Errors: as log_open; of a file that was deleted
 * meanwhile, lines go to standard error until it can be opened. Nothing to do where there is no file. */
int log_reopen(void);
/** Writes what the calling thread has gathered, closes the file; the log is text on standard error again. */
void log_close(void);

/** Writes what the calling thread has gathered. A thread that used log_buffered calls it when idle and before
 * it ends. */
void log_flush(void);
/** Lines lost since start because the sink would have blocked or failed. Threads: any. */
uint64_t log_lines_dropped(void);
bool log_enabled(enum log_level level);
/** By name ("warn"), for configuration; -1 when it is none. */
int log_level_by_name(struct slice name);

enum log_type { LOG_TYPE_END, LOG_TYPE_ABSENT, LOG_TYPE_TEXT, LOG_TYPE_INT, LOG_TYPE_MS, LOG_TYPE_BOOL };

struct log_field {
    enum log_type type;
    struct slice name;
    union {
        struct slice text;
        int64_t number;
    };
};

/* Fields. Names are literals. A NULL text leaves its field out; a text need not be UTF-8. */
#define LOG_STR(lit, str) ((struct log_field){LOG_TYPE_TEXT, SLICE(lit), {.text = slice_str(str)}})
#define LOG_SLICE(lit, s) ((struct log_field){LOG_TYPE_TEXT, SLICE(lit), {.text = (s)}})
#define LOG_INT(lit, n)   ((struct log_field){LOG_TYPE_INT, SLICE(lit), {.number = (int64_t)(n)}})
#define LOG_BOOL(lit, b)  ((struct log_field){LOG_TYPE_BOOL, SLICE(lit), {.number = (b)}})
/* A duration in nanoseconds, written in milliseconds with three places: its name ends in _ms. */
#define LOG_DUR(lit, ns) ((struct log_field){LOG_TYPE_MS, SLICE(lit), {.number = (ns)}})
/* The same of what may not be known: a negative number leaves its field out. */
#define LOG_INT_KNOWN(lit, n)                                                                                \
    ((struct log_field){(n) < 0 ? LOG_TYPE_ABSENT : LOG_TYPE_INT, SLICE(lit), {.number = (n)}})
#define LOG_DUR_KNOWN(lit, ns)                                                                               \
    ((struct log_field){(ns) < 0 ? LOG_TYPE_ABSENT : LOG_TYPE_MS, SLICE(lit), {.number = (ns)}})
/* What an errno means, of either sign; 0 leaves the field out. */
#define LOG_ERRNO(lit, err)                                                                                  \
    ((struct log_field){LOG_TYPE_TEXT, SLICE(lit), {.text = slice_str(log_errno_text(err))}})

#define LOG_FIELDS(...) ((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){LOG_TYPE_END}})

/* log_event(LOG_WARN, "upstream_slow", LOG_STR("upstream", name), LOG_DUR("waited_ms", ns)); Threads: any. */
#define log_event(level, event, ...)                                                                         \
    do {                                                                                                     \
        if (log_enabled(level))                                                                              \
            log_write((level), slice_str(event), LOG_FIELDS(__VA_ARGS__), true);                             \
    } while (0)

/* The same for what happens at every request. */
#define log_buffered(level, event, ...)                                                                      \
    do {                                                                                                     \
        if (log_enabled(level))                                                                              \
            log_write((level), slice_str(event), LOG_FIELDS(__VA_ARGS__), false);                            \
    } while (0)

/** Behind the macros. @fields ends with LOG_TYPE_END; @now: write at once. */
void log_write(enum log_level level, struct slice event, const struct log_field *fields, bool now);
const char *log_errno_text(int err);
