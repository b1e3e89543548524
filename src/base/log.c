#include "refrain/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"

/*
 * A line is composed in place at the end of the thread's block, by plain pointer writes: it is the one thing
 * besides the answer itself that every hit pays for. The block is handed to the sink under its lock, so lines
 * of different threads never mix, and a line that a full pipe took only half of is finished before anything
 * else is written.
 */

enum sink_kind {
    SINK_OWN,    /* a file, where write() returns when the page cache has it, or opened not to block */
    SINK_SOCKET, /* standard error under systemd: asked not to block call by call */
    SINK_SHARED, /* pipe or terminal that others use as well, so not made non-blocking: asked first, in pieces
                  */
};

/* A pipe with room has room for a page; a terminal takes so much at once where it takes anything. */
enum { PIPE_PIECE = 4096, TERMINAL_PIECE = 256 };

static struct sink {
    pthread_mutex_t lock;
    int fd;
    enum sink_kind kind;
    char *path; /* NULL: standard error */
    char rest[LOG_LINE_BYTES_MAX];
    size_t rest_len;        /* of a line that was written in part */
    uint64_t dropped_known; /* how many lost lines the log itself has told of */
    atomic_int level, format;
    atomic_uint_fast64_t dropped;
    const struct log_redact *_Atomic redact;
} sink = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .fd = STDERR_FILENO,
    .kind = SINK_SHARED,
    .level = LOG_INFO,
    .format = LOG_TEXT,
};

struct block {
    char bytes[LOG_BLOCK_BYTES + LOG_LINE_BYTES_MAX];
    size_t len;
    int64_t stamp_s; /* the second that stamp shows */
    char stamp[20];  /* "2025-01-31T23:59:59" */
};
static _Thread_local struct block mine;

static const struct slice level_names[] = {SLICE("debug"), SLICE("info"), SLICE("warn"), SLICE("error")};

/* Breaking a second down costs more than the rest of a line, so its text is kept until the next one. */
static int stamp_now(struct block *b)
{
    struct timespec now;
    struct tm tm;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != b->stamp_s || b->stamp[0] == '\0') {
        (void)gmtime_r(&now.tv_sec, &tm);
        (void)strftime(b->stamp, sizeof(b->stamp), "%Y-%m-%dT%H:%M:%S", &tm);
        b->stamp_s = now.tv_sec;
    }
    return (int)(now.tv_nsec / 1000000);
}

/* -- the sink -- */

static enum sink_kind kind_of(int fd)
{
    struct stat st;

    if (fd != STDERR_FILENO)
        return SINK_OWN;
    if (fstat(fd, &st) < 0)
        return SINK_SHARED;
    if (S_ISREG(st.st_mode))
        return SINK_OWN;
    return S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_SHARED;
}

/* Standard error, opened once more where the system allows, so that only this side of it does not block: a
 * terminal whose other end has stalled says that it has room, and then takes half. */
static int standard_error(void)
{
    int fd = STDERR_FILENO;

    if (kind_of(fd) == SINK_SHARED)
        fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return fd < 0 ? STDERR_FILENO : fd;
}

/* Writes some of it without waiting: bytes taken, or a negative errno (-EAGAIN: full). */
static ssize_t write_some(const struct sink *s, const char *data, size_t len)
{
    struct pollfd p = {.fd = s->fd, .events = POLLOUT};
    size_t piece;
    ssize_t n;

    if (s->kind == SINK_SHARED) {
        if (poll(&p, 1, 0) == 0)
            return -EAGAIN;
        piece = isatty(s->fd) ? TERMINAL_PIECE : PIPE_PIECE;
        if (len > piece)
            len = piece;
    }
    do
        n = s->kind == SINK_SOCKET ? send(s->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                   : write(s->fd, data, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* How much of @data went out before the sink was full or failed. */
static size_t write_most(const struct sink *s, const char *data, size_t len)
{
    size_t done = 0;
    ssize_t n;

    while (done < len) {
        n = write_some(s, data + done, len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return done;
}

static bool write_rest(struct sink *s)
{
    size_t done = write_most(s, s->rest, s->rest_len);

    s->rest_len -= done;
    memmove(s->rest, s->rest + done, s->rest_len);
    return s->rest_len == 0;
}

static unsigned count_lines(const char *data, size_t len)
{
    unsigned n = 0;

    for (size_t i = 0; i < len; i++)
        n += data[i] == '\n';
    return n;
}

/* Keeps what is left of a line cut at @done, if it was cut; counts the lines after it as lost. */
static void keep_cut_line(struct sink *s, const char *data, size_t len, size_t done)
{
    size_t end = done;

    if (done > 0 && data[done - 1] != '\n') {
        while (end < len && data[end] != '\n')
            end++;
        end += end < len;
        memcpy(s->rest, data + done, end - done);
        s->rest_len = end - done;
    }
    atomic_fetch_add(&s->dropped, count_lines(data + end, len - end));
}

/* Says in the log itself that lines are missing from it. */
static void tell_dropped(struct sink *s)
{
    bool json = atomic_load(&s->format) == LOG_JSON;
    uint64_t now = atomic_load(&s->dropped);
    unsigned long long lost = now - s->dropped_known;
    int ms = stamp_now(&mine), len;
    size_t done;
    char line[160];

    len = snprintf(
        line, sizeof(line),
        json ? "{\"time\":\"%s.%03dZ\",\"level\":\"warn\",\"event\":\"log_lines_dropped\",\"lines\":%llu}\n"
             : "%s.%03dZ WARN  log_lines_dropped lines=%llu\n",
        mine.stamp, ms, lost);
    done = write_most(s, line, (size_t)len);
    if (done == 0)
        return;
    s->dropped_known = now;
    s->rest_len = (size_t)len - done;
    memcpy(s->rest, line + done, s->rest_len);
}

static void sink_write(struct sink *s, const char *data, size_t len)
{
    size_t done = 0;

    if (write_rest(s)) {
        if (atomic_load(&s->dropped) != s->dropped_known)
            tell_dropped(s);
        if (s->rest_len == 0)
            done = write_most(s, data, len);
    }
    if (done < len)
        keep_cut_line(s, data, len, done);
}

void log_flush(void)
{
    if (mine.len == 0)
        return;
    pthread_mutex_lock(&sink.lock);
    sink_write(&sink, mine.bytes, mine.len);
    pthread_mutex_unlock(&sink.lock);
    mine.len = 0;
}

static bool is_same_file(int a, int b)
{
    struct stat of_a, of_b;

    return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
           of_a.st_ino == of_b.st_ino;
}

/* What is left of a line that was cut goes where its beginning went, or nowhere. */
static void leave(struct sink *s)
{
    if (!write_rest(s))
        atomic_fetch_add(&s->dropped, 1);
    s->rest_len = 0;
}

/* Takes over @fd and @path (NULL: standard error's). */
static void sink_use(int fd, char *path)
{
    int old_fd;
    char *old_path;

    pthread_mutex_lock(&sink.lock);
    if (!is_same_file(sink.fd, fd))
        leave(&sink);
    old_fd = sink.fd;
    old_path = sink.path;
    sink.fd = fd;
    sink.path = path;
    sink.kind = kind_of(fd);
    pthread_mutex_unlock(&sink.lock);
    if (old_fd != STDERR_FILENO)
        (void)close(old_fd);
    if (old_path != path)
        free(old_path);
}

static int file_open(const char *path)
{
    /* Not to block: it may be a pipe with a name. */
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0640);

    return fd < 0 ? -errno : fd;
}

int log_open(const struct log_conf *conf)
{
    char *path = NULL;
    int fd;

    if (conf->file && conf->file[0]) {
        fd = file_open(conf->file);
        if (fd < 0)
            return fd;
        path = strdup(conf->file);
        if (!path) {
            (void)close(fd);
            return -ENOMEM;
        }
    } else {
        fd = standard_error();
    }
    log_flush();
    atomic_store(&sink.level, conf->level);
    atomic_store(&sink.format, conf->format);
    sink_use(fd, path);
    return 0;
}

/* A file that was deleted takes lines that nobody will ever see. */
static bool is_deleted(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

int log_reopen(void)
{
    char *path;
    bool lost;
    int fd;

    pthread_mutex_lock(&sink.lock);
    path = sink.path ? strdup(sink.path) : NULL;
    lost = path && is_deleted(sink.fd);
    pthread_mutex_unlock(&sink.lock);
    if (!path)
        return 0;
    fd = file_open(path);
    if (fd >= 0 || lost)
        sink_use(fd >= 0 ? fd : standard_error(), path);
    else
        free(path);
    return fd < 0 ? fd : 0;
}

void log_set_redact(const struct log_redact *redact)
{
    atomic_store_explicit(&sink.redact, redact, memory_order_release);
}

void log_close(void)
{
    log_flush();
    pthread_mutex_lock(&sink.lock);
    leave(&sink);
    pthread_mutex_unlock(&sink.lock);
    sink_use(STDERR_FILENO, NULL);
    atomic_store(&sink.level, LOG_INFO);
    atomic_store(&sink.format, LOG_TEXT);
}

uint64_t log_lines_dropped(void)
{
    return atomic_load(&sink.dropped);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

int log_level_by_name(struct slice name)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
        if (slice_eq(name, level_names[i]))
            return (int)i;
    return -1;
}

const char *log_errno_text(int err)
{
    if (err == 0)
        return NULL;
    return strerrordesc_np(err < 0 ? -err : err);
}

/* -- composing a line -- */

struct line {
    char *at, *end; /* end leaves room for the closing */
    bool json;
};

static const char json_cut[] = ",\"truncated\":true}\n", json_end[] = "}\n";
static const char text_cut[] = " truncated=true\n", text_end[] = "\n";

static void put(struct line *l, const char *data, size_t len)
{
    memcpy(l->at, data, len);
    l->at += len;
}

static bool has_room(const struct line *l, size_t len)
{
    return (size_t)(l->end - l->at) >= len;
}

/* True when a word of eight bytes holds one outside 0x20..0x7E, a quote or a backslash. */
static bool word_is_special(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    uint64_t quote = w ^ (ones * '"'), backslash = w ^ (ones * '\\'), del = w ^ (ones * 0x7F);

    /* (x - ones) & ~x has its high bit where x is 0; exact for "is there any" */
    return ((w | (w - ones * 0x20) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
             ((del - ones) & ~del)) &
            high) != 0;
}

/* True of text that may stand between quotes as it is. */
static bool is_plain(struct slice s)
{
    uint64_t w;
    size_t i = 0;

    for (; i + 8 <= s.len; i += 8) {
        memcpy(&w, s.data + i, 8);
        if (word_is_special(w))
            return false;
    }
    if (i == s.len)
        return true;
    memset(&w, ' ', 8);
    memcpy(&w, s.data + i, s.len - i);
    return !word_is_special(w);
}

/* Apart, since hardly any text needs it. */
static __attribute__((noinline)) bool put_escaped(struct line *l, struct slice text)
{
    AUTO(buf_done) struct buf escaped = BUF_INIT(LOG_LINE_BYTES_MAX);

    if (buf_add_json(&escaped, text) < 0 || !has_room(l, escaped.len))
        return false;
    put(l, escaped.data, escaped.len);
    return true;
}

static bool put_quoted(struct line *l, struct slice text)
{
    if (UNLIKELY(!is_plain(text)))
        return put_escaped(l, text);
    if (!has_room(l, text.len + 2))
        return false;
    *l->at++ = '"';
    put(l, text.data, text.len);
    *l->at++ = '"';
    return true;
}

/* In a text line a value stands bare when nothing in it could be taken for the line's own syntax. */
static bool put_bare(struct line *l, struct slice text)
{
    bool bare = text.len > 0 && is_plain(text) && !memchr(text.data, ' ', text.len) &&
                !memchr(text.data, '=', text.len);

    if (!bare)
        return put_quoted(l, text);
    if (!has_room(l, text.len))
        return false;
    put(l, text.data, text.len);
    return true;
}

static bool put_as_is(struct line *l, struct slice text)
{
    return l->json ? put_quoted(l, text) : put_bare(l, text);
}

/* Apart, for the sake of its stack: what operators want left out goes, and what is too long is cut. */
static __attribute__((noinline)) bool put_changed(struct line *l, struct slice text,
                                                  const struct log_redact *redact)
{
    char cut[LOG_TEXT_BYTES_MAX + 3], left[LOG_TEXT_BYTES_MAX + 1];

    if (redact)
        text = slice_make(left, redact->redact(redact->arg, text, left, sizeof(left)));
    if (text.len > LOG_TEXT_BYTES_MAX) {
        memcpy(cut, text.data, LOG_TEXT_BYTES_MAX);
        memcpy(cut + LOG_TEXT_BYTES_MAX, "...", 3);
        text = slice_make(cut, sizeof(cut));
    }
    return put_as_is(l, text);
}

static bool put_text(struct line *l, struct slice text)
{
    const struct log_redact *redact = atomic_load_explicit(&sink.redact, memory_order_acquire);

    if (UNLIKELY(redact != NULL || text.len > LOG_TEXT_BYTES_MAX))
        return put_changed(l, text, redact);
    return put_as_is(l, text);
}

static bool put_int(struct line *l, int64_t number)
{
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    char digits[20], *p = digits + sizeof(digits);

    if (!has_room(l, 21))
        return false;
    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        *l->at++ = '-';
    put(l, p, (size_t)(digits + sizeof(digits) - p));
    return true;
}

static bool put_ms(struct line *l, int64_t ns)
{
    int64_t us = (ns < 0 ? 0 : ns) / 1000, part = us % 1000;

    if (!put_int(l, us / 1000) || !has_room(l, 4))
        return false;
    *l->at++ = '.';
    *l->at++ = (char)('0' + part / 100);
    *l->at++ = (char)('0' + part / 10 % 10);
    *l->at++ = (char)('0' + part % 10);
    return true;
}

static bool put_name(struct line *l, struct slice name)
{
    if (!has_room(l, name.len + 4))
        return false;
    *l->at++ = l->json ? ',' : ' ';
    if (l->json)
        *l->at++ = '"';
    put(l, name.data, name.len);
    if (l->json)
        *l->at++ = '"';
    *l->at++ = l->json ? ':' : '=';
    return true;
}

static bool put_value(struct line *l, const struct log_field *f)
{
    struct slice word;

    switch (f->type) {
    case LOG_TYPE_TEXT:
        return put_text(l, f->text);
    case LOG_TYPE_INT:
        return put_int(l, f->number);
    case LOG_TYPE_MS:
        return put_ms(l, f->number);
    case LOG_TYPE_BOOL:
        word = f->number ? SLICE_OF("true") : SLICE_OF("false");
        if (!has_room(l, word.len))
            return false;
        put(l, word.data, word.len);
        return true;
    case LOG_TYPE_ABSENT:
    case LOG_TYPE_END:
        break;
    }
    return false;
}

/* All fields that fit; false when one did not. */
static bool put_fields(struct line *l, const struct log_field *fields)
{
    bool all = true;

    for (const struct log_field *f = fields; f->type != LOG_TYPE_END; f++) {
        char *before = l->at;

        if (f->type == LOG_TYPE_ABSENT || (f->type == LOG_TYPE_TEXT && !f->text.data))
            continue;
        if (!put_name(l, f->name) || !put_value(l, f)) {
            l->at = before;
            all = false;
        }
    }
    return all;
}

static void put_stamp(struct line *l)
{
    int ms = stamp_now(&mine);

    put(l, mine.stamp, 19);
    *l->at++ = '.';
    *l->at++ = (char)('0' + ms / 100);
    *l->at++ = (char)('0' + ms / 10 % 10);
    *l->at++ = (char)('0' + ms % 10);
    *l->at++ = 'Z';
}

static void put_head_json(struct line *l, enum log_level level, struct slice event)
{
    put(l, "{\"time\":\"", 9);
    put_stamp(l);
    put(l, "\",\"level\":\"", 11);
    put(l, level_names[level].data, level_names[level].len);
    put(l, "\",\"event\":\"", 11);
    put(l, event.data, event.len);
    *l->at++ = '"';
}

static void put_head_text(struct line *l, enum log_level level, struct slice event)
{
    static const char padded[][7] = {" DEBUG ", " INFO  ", " WARN  ", " ERROR "};

    put_stamp(l);
    put(l, padded[level], 7);
    put(l, event.data, event.len);
}

void log_write(enum log_level level, struct slice event, const struct log_field *fields, bool now)
{
    struct line l = {
        .at = mine.bytes + mine.len,
        .end = mine.bytes + mine.len + LOG_LINE_BYTES_MAX - sizeof(json_cut),
        .json = atomic_load_explicit(&sink.format, memory_order_relaxed) == LOG_JSON,
    };
    bool all;

    if (event.len > 64)
        event.len = 64;
    if (l.json)
        put_head_json(&l, level, event);
    else
        put_head_text(&l, level, event);
    all = put_fields(&l, fields);
    if (l.json)
        put(&l, all ? json_end : json_cut, (all ? sizeof(json_end) : sizeof(json_cut)) - 1);
    else
        put(&l, all ? text_end : text_cut, (all ? sizeof(text_end) : sizeof(text_cut)) - 1);

    mine.len = (size_t)(l.at - mine.bytes);
    if (now || mine.len >= LOG_BLOCK_BYTES)
        log_flush();
}
