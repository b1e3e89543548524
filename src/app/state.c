#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"

enum { PATH_MAX_BYTES = 4096, SECRET_BYTES = 32, SECRET_FILE_MAX = 4096 };

static int dir_make(const char *path)
{
    AUTO(buf_done) struct buf part = BUF_INIT(PATH_MAX_BYTES);
    int r = 0;

    for (size_t i = 1; r == 0 && i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        buf_clear(&part);
        r = buf_addf(&part, "%.*s%c", (int)i, path, '\0');
        if (r == 0 && mkdir(part.data, 0700) < 0 && errno != EEXIST)
            r = -errno;
    }
    return r;
}

static int write_whole(const char *path, struct slice text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = 0;

    if (fd < 0)
        return -errno;
    if (write(fd, text.data, text.len) != (ssize_t)text.len)
        r = -EIO;
    if (fsync(fd) < 0 && r == 0)
        r = -errno;
    (void)close(fd);
    return r;
}

/* A link appears with all that is in it, and does not replace another's. */
static int secret_make(const char *path)
{
    AUTO(buf_done) struct buf temp = BUF_INIT(PATH_MAX_BYTES), text = BUF_INIT(SECRET_FILE_MAX);
    unsigned char raw[SECRET_BYTES];
    int r = buf_addf(&temp, "%s.new.%d%c", path, (int)getpid(), '\0');

    random_bytes(raw, sizeof(raw));
    for (size_t i = 0; r == 0 && i < sizeof(raw); i++)
        r = buf_addf(&text, "%02x", raw[i]);
    if (r == 0)
        r = write_whole(temp.data, buf_slice(&text));
    if (r < 0)
        return r;
    if (link(temp.data, path) < 0)
        r = -errno;
    (void)unlink(temp.data);
    return r;
}

static int secret_read(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    int r;

    if (fd < 0)
        return -errno;
    r = buf_reserve(out, SECRET_FILE_MAX);
    n = r == 0 ? read(fd, out->data + out->len, SECRET_FILE_MAX) : 0;
    (void)close(fd);
    if (r < 0)
        return r;
    if (n <= 0)
        return -EIO;
    out->len += (size_t)n;
    return 0;
}

static int path_of(const char *dir, const char *name, struct buf *out)
{
    return buf_addf(out, "%s/%s%c", dir, name, '\0');
}

int state_secret_find(const char *dir, const char *name, struct buf *out)
{
    AUTO(buf_done) struct buf path = BUF_INIT(PATH_MAX_BYTES);
    int r = path_of(dir, name, &path);

    return r < 0 ? r : secret_read(path.data, out);
}

int state_secret_load(const char *dir, const char *name, struct buf *out, const char **out_what)
{
    AUTO(buf_done) struct buf path = BUF_INIT(PATH_MAX_BYTES);
    int r = path_of(dir, name, &path);

    if (r == 0)
        r = secret_read(path.data, out);
    if (r != -ENOENT) {
        *out_what = "what cache.state_dir holds cannot be read";
        return r;
    }
    *out_what = "cache.state_dir cannot be made";
    r = dir_make(dir);
    if (r < 0)
        return r;
    *out_what = "nothing can be written in cache.state_dir";
    r = secret_make(path.data);
    return r == 0 || r == -EEXIST ? secret_read(path.data, out) : r;
}

struct ledger *state_ledger_open(const char *dir, struct ledger_found *out, int *out_errno)
{
    AUTO(buf_done) struct buf path = BUF_INIT(PATH_MAX_BYTES);

    *out = (struct ledger_found){0};
    *out_errno = dir_make(dir);
    if (*out_errno == 0)
        *out_errno = path_of(dir, STATE_LEDGER, &path);
    return *out_errno == 0 ? ledger_open(path.data, out, out_errno) : NULL;
}
