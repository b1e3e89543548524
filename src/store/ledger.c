#include "refrain/store/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"

enum { FILE_BYTES_MAX = 64 * 1024 * 1024, PATH_BYTES = PATH_MAX };

static const char head[] = "refrain ledger 1";
static const char *const part_names[LEDGER_PARTS] = {
    [LEDGER_INVALIDATIONS] = "invalidation",
    [LEDGER_DELETIONS] = "deletion",
    [LEDGER_UNTOLD] = "untold",
};

struct ledger {
    pthread_mutex_t lock;
    char path[PATH_BYTES], dir[PATH_BYTES];
    int lock_fd; /* holds the file for this process */
    struct buf parts[LEDGER_PARTS];
    bool changed, there; /* since it was written; there is a file */
    int trouble;
    unsigned odd;
};

/* -- reading -- */

static int read_whole(const char *path, struct buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int r = 0;

    if (fd < 0)
        return errno == ELOOP ? -EINVAL : -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        r = -EINVAL;
    while (r == 0) {
        ssize_t n;

        r = buf_reserve(out, 16 * 1024); /* -EMSGSIZE: more than any of ours */
        n = r == 0 ? read(fd, out->data + out->len, out->cap - out->len) : 0;
        if (n <= 0) {
            r = n < 0 ? -errno : r;
            break;
        }
        out->len += (size_t)n;
    }
    (void)close(fd);
    return r;
}

static int part_of(struct slice name)
{
    int part = 0;

    while (part < LEDGER_PARTS && !slice_eq(name, slice_str(part_names[part])))
        part++;
    return part;
}

/* What stands between head and end is ours, line by line, or the whole is not. */
static bool is_whole(struct slice text, unsigned *out_lines)
{
    struct slice line = slice_cut(&text, '\n');
    char end[32];
    unsigned n = 0;

    if (!slice_eq(line, slice_str(head)))
        return false;
    for (line = slice_cut(&text, '\n'); text.data; line = slice_cut(&text, '\n'), n++) {
        struct slice rest = line;

        if (part_of(slice_cut(&rest, ' ')) == LEDGER_PARTS)
            break;
    }
    (void)snprintf(end, sizeof(end), "end %u", n);
    *out_lines = n;
    return slice_eq(line, slice_str(end)) && text.data && text.len == 0;
}

static int take_lines(struct ledger *l, struct slice text)
{
    int r = 0;

    (void)slice_cut(&text, '\n');
    while (r == 0 && text.len > 0) {
        struct slice rest = slice_cut(&text, '\n');
        int part = part_of(slice_cut(&rest, ' '));

        if (part == LEDGER_PARTS)
            break; /* the end */
        r = buf_add_slice(&l->parts[part], rest);
        if (r == 0)
            r = buf_add_byte(&l->parts[part], '\n');
    }
    return r;
}

static void set_aside(const char *path, struct ledger_found *found)
{
    char to[PATH_BYTES + 8];

    (void)snprintf(to, sizeof(to), "%s.odd", path);
    if (rename(path, to) == 0)
        found->set_aside++;
}

/* 0 also where there is none. */
static int take_file(struct ledger *l, const char *path, struct ledger_found *found)
{
    AUTO(buf_done) struct buf text = BUF_INIT(FILE_BYTES_MAX);
    unsigned lines = 0;
    int r = read_whole(path, &text);

    if (r == -ENOENT)
        return 0;
    if (r == -EINVAL || r == -EMSGSIZE || (r == 0 && !is_whole(buf_slice(&text), &lines))) {
        set_aside(path, found);
        return 0;
    }
    if (r == 0)
        r = take_lines(l, buf_slice(&text));
    found->lines += r == 0 ? lines : 0;
    return r;
}

/* -- writing -- */

static int add_part(struct buf *out, const char *name, struct slice lines, unsigned *n)
{
    int r = 0;

    while (r == 0 && lines.len > 0) {
        struct slice line = slice_cut(&lines, '\n');

        r = buf_addf(out, "%s %.*s\n", name, (int)line.len, line.data);
        (*n)++;
    }
    return r;
}

static int compose(const struct ledger *l, struct buf *out)
{
    unsigned n = 0;
    int r = buf_addf(out, "%s\n", head);

    for (int i = 0; r == 0 && i < LEDGER_PARTS; i++)
        r = add_part(out, part_names[i], buf_slice(&l->parts[i]), &n);
    return r < 0 ? r : buf_addf(out, "end %u\n", n);
}

static int write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t n = write(fd, text.data, text.len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            text = slice_skip(text, (size_t)n);
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 || fsync(fd) < 0 ? -errno : 0;

    if (fd >= 0)
        (void)close(fd);
    return r;
}

static int write_file(const struct ledger *l, struct slice text)
{
    char aside[PATH_BYTES + 8];
    int fd, r;

    (void)snprintf(aside, sizeof(aside), "%s.new", l->path);
    (void)unlink(aside);
    fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = write_all(fd, text);
    (void)close(fd);
    if (r == 0 && rename(aside, l->path) < 0)
        r = -errno;
    if (r < 0)
        (void)unlink(aside);
    return r < 0 ? r : sync_dir(l->dir);
}

static bool is_empty(const struct ledger *l)
{
    for (size_t i = 0; i < LEDGER_PARTS; i++)
        if (l->parts[i].len > 0)
            return false;
    return true;
}

/* Under the lock. */
static int write_changes(struct ledger *l)
{
    AUTO(buf_done) struct buf text = BUF_INIT(FILE_BYTES_MAX);
    int r;

    if (!l->changed)
        return 0;
    if (is_empty(l)) {
        r = !l->there || unlink(l->path) == 0 || errno == ENOENT ? 0 : -errno;
    } else {
        r = compose(l, &text);
        if (r == 0)
            r = write_file(l, buf_slice(&text));
    }
    l->there = l->there ? r < 0 || !is_empty(l) : !is_empty(l);
    l->changed = r < 0;
    l->trouble = r;
    return r;
}

int ledger_write(struct ledger *l)
{
    int r;

    if (!l)
        return 0;
    (void)pthread_mutex_lock(&l->lock);
    r = write_changes(l);
    (void)pthread_mutex_unlock(&l->lock);
    return r;
}

int ledger_trouble(struct ledger *l)
{
    int r;

    if (!l)
        return 0;
    (void)pthread_mutex_lock(&l->lock);
    r = l->trouble;
    (void)pthread_mutex_unlock(&l->lock);
    return r;
}

/* -- opening -- */

static int lock_slot(const char *path, unsigned slot, char out[PATH_BYTES])
{
    char name[PATH_BYTES + 8];
    int n = snprintf(out, PATH_BYTES, "%s.%u", path, slot), fd;

    if (n < 0 || n >= PATH_BYTES)
        return -ENAMETOOLONG;
    (void)snprintf(name, sizeof(name), "%s.lock", out);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    (void)close(fd);
    return -EWOULDBLOCK;
}

static bool slot_exists(const char *path, unsigned slot)
{
    char name[PATH_BYTES];
    struct stat st;

    (void)snprintf(name, sizeof(name), "%s.%u", path, slot);
    return lstat(name, &st) == 0;
}

/* What others left that have ended is ours first, and then no more theirs. */
static void take_over(struct ledger *l, const char *path, unsigned own, struct ledger_found *found)
{
    for (unsigned slot = 1; slot <= LEDGERS_MAX; slot++) {
        char theirs[PATH_BYTES];
        int fd = slot != own && slot_exists(path, slot) ? lock_slot(path, slot, theirs) : -1;

        if (fd < 0)
            continue;
        if (take_file(l, theirs, found) == 0) {
            l->changed = true;
            if (ledger_write(l) == 0)
                (void)unlink(theirs);
        }
        (void)close(fd);
    }
}

static int open_own(struct ledger *l, const char *path, struct ledger_found *found)
{
    unsigned slot = 1;
    const char *slash;
    int r;

    while ((l->lock_fd = lock_slot(path, slot, l->path)) == -EWOULDBLOCK && slot < LEDGERS_MAX)
        slot++;
    if (l->lock_fd < 0)
        return l->lock_fd == -EWOULDBLOCK ? -EUSERS : l->lock_fd;
    slash = strrchr(l->path, '/');
    (void)snprintf(l->dir, sizeof(l->dir), "%.*s", slash ? (int)(slash - l->path + 1) : 1,
                   slash ? l->path : ".");
    r = take_file(l, l->path, found);
    l->there = found->lines > 0;
    if (r == 0)
        take_over(l, path, slot, found);
    return r;
}

struct ledger *ledger_open(const char *path, struct ledger_found *out, int *out_errno)
{
    struct ledger *l = calloc(1, sizeof(*l));

    *out = (struct ledger_found){0};
    *out_errno = -ENOMEM;
    if (!l)
        return NULL;
    (void)pthread_mutex_init(&l->lock, NULL);
    for (size_t i = 0; i < LEDGER_PARTS; i++)
        l->parts[i].max = FILE_BYTES_MAX;
    *out_errno = open_own(l, path, out);
    if (*out_errno == 0)
        return l;
    l->changed = false;
    ledger_free(l);
    return NULL;
}

void ledger_free(struct ledger *l)
{
    if (!l)
        return;
    (void)ledger_write(l);
    if (l->lock_fd >= 0)
        (void)close(l->lock_fd);
    for (size_t i = 0; i < LEDGER_PARTS; i++)
        buf_done(&l->parts[i]);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

/* -- for the owners -- */

void ledger_read(struct ledger *l, enum ledger_part part, void (*on_line)(void *arg, struct slice line),
                 void *arg)
{
    AUTO(buf_done) struct buf copy = BUF_INIT(FILE_BYTES_MAX);
    struct slice rest;
    int r;

    if (!l)
        return;
    (void)pthread_mutex_lock(&l->lock);
    r = buf_add_slice(&copy, buf_slice(&l->parts[part]));
    (void)pthread_mutex_unlock(&l->lock);
    if (r < 0)
        abort(); /* at the start, and no larger than what has just been read */
    rest = buf_slice(&copy);
    while (rest.len > 0)
        on_line(arg, slice_cut(&rest, '\n'));
}

void ledger_odd(struct ledger *l)
{
    if (!l)
        return;
    (void)pthread_mutex_lock(&l->lock);
    l->odd++;
    (void)pthread_mutex_unlock(&l->lock);
}

unsigned ledger_odd_n(struct ledger *l)
{
    unsigned n;

    if (!l)
        return 0;
    (void)pthread_mutex_lock(&l->lock);
    n = l->odd;
    (void)pthread_mutex_unlock(&l->lock);
    return n;
}

void ledger_set(struct ledger *l, enum ledger_part part, struct slice lines)
{
    struct buf *at;

    if (!l)
        return;
    (void)pthread_mutex_lock(&l->lock);
    at = &l->parts[part];
    if (!slice_eq(buf_slice(at), lines)) {
        if (buf_reserve(at, lines.len) < 0) {
            l->trouble = -ENOMEM; /* what is in the file stays there */
        } else {
            buf_clear(at);
            l->changed = buf_add_slice(at, lines) == 0; /* there is room */
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
}
