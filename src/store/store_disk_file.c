#include "store_disk_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "refrain/base/attr.h"

enum { ASIDE_SEEN_MAX = 64, OWNER_ONLY = 0600 };

static const char aside_infix[] = ".corrupt-";

static int path_with(char out[DISK_PATH_MAX], const char *path, const char *suffix)
{
    int n = snprintf(out, DISK_PATH_MAX, "%s%s", path, suffix);

    return n > 0 && n < DISK_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The directory, "." for a bare name. */
static int directory_of(char out[DISK_PATH_MAX], const char *path)
{
    char *slash;

    if (path_with(out, path, "") < 0)
        return -ENAMETOOLONG;
    slash = strrchr(out, '/');
    if (!slash)
        return path_with(out, ".", "");
    slash[slash == out] = '\0';
    return 0;
}

void disk_file_look(const char *path, struct disk_file *out)
{
    char log[DISK_PATH_MAX];
    struct stat st;

    *out = (struct disk_file){.kind = DISK_FILE_ABSENT};
    if (lstat(path, &st) == 0) {
        out->kind = S_ISREG(st.st_mode) ? DISK_FILE_REGULAR : DISK_FILE_OTHER;
        out->device = st.st_dev;
        out->inode = st.st_ino;
        out->bytes = (uint64_t)st.st_size;
    }
    if (path_with(log, path, "-wal") == 0 && lstat(log, &st) == 0) {
        out->has_log = true;
        out->log_bytes = (uint64_t)st.st_size;
    }
}

int disk_file_lock(const char *path, int *out_fd)
{
    char name[DISK_PATH_MAX];
    int fd, r;

    if (path_with(name, path, ".lock") < 0)
        return -ENAMETOOLONG;
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, OWNER_ONLY);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    *out_fd = fd;
    return 0;
}

void disk_file_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, OWNER_ONLY);

    if (fd >= 0)
        (void)close(fd); /* where it cannot be made, SQLite says so */
}

bool disk_file_is_writable(const char *path)
{
    char directory[DISK_PATH_MAX];

    return directory_of(directory, path) == 0 && access(directory, W_OK) == 0 &&
           (access(path, W_OK) == 0 || errno == ENOENT);
}

bool disk_file_on_network(const char *path)
{
    static const unsigned long network[] = {
        0x6969,     /* NFS */
        0x517b,     /* SMB */
        0xff534d42, /* CIFS */
        0xfe534d42, /* SMB2 */
        0x01021997, /* 9P */
        0x00c36400, /* Ceph */
        0x65735546, /* FUSE: sshfs and the like */
    };
    char directory[DISK_PATH_MAX];
    struct statfs st;

    if (directory_of(directory, path) < 0 || statfs(directory, &st) < 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(network); i++)
        if ((unsigned long)(unsigned int)st.f_type == network[i])
            return true;
    return false;
}

void disk_file_reserve_log(const char *path, int64_t bytes)
{
    char log[DISK_PATH_MAX];
    int fd = path_with(log, path, "-wal") == 0 ? open(log, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (fd < 0)
        return;
    (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes); /* where the file system cannot, it cannot */
    (void)close(fd);                                    /* SQLite holds no locks on a log */
}

uint64_t disk_file_free_bytes(const char *path)
{
    char directory[DISK_PATH_MAX];
    struct statvfs st;

    if (directory_of(directory, path) < 0 || statvfs(directory, &st) < 0)
        return UINT64_MAX;
    return (uint64_t)st.f_bavail * st.f_frsize;
}

static void unlink_with(const char *path, const char *suffix)
{
    char name[DISK_PATH_MAX];

    if (path_with(name, path, suffix) == 0)
        (void)unlink(name);
}

/* A name that was taken away must not come back after a loss of power. */
static void sync_directory(const char *path)
{
    char directory[DISK_PATH_MAX];
    int fd = directory_of(directory, path) == 0 ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    (void)fsync(fd); /* best effort: not every file system has it */
    (void)close(fd);
}

/* The file first: a log without its file is ignored, a file without its log would be taken for whole. */
int disk_file_remove(const char *path)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return -errno;
    unlink_with(path, "-wal");
    unlink_with(path, "-shm");
    sync_directory(path);
    return 0;
}

static int aside_name(char out[DISK_PATH_MAX], const char *path, int64_t now_ms, unsigned again)
{
    time_t now = (time_t)(now_ms / 1000);
    char when[48], number[16] = "";
    struct tm tm;

    if (!gmtime_r(&now, &tm) || strftime(when, sizeof(when), ".corrupt-%Y%m%dT%H%M%SZ", &tm) == 0)
        return -EINVAL;
    if (again > 0)
        (void)snprintf(number, sizeof(number), ".%u", again);
    (void)strncat(when, number, sizeof(when) - strlen(when) - 1);
    return path_with(out, path, when);
}

int disk_file_set_aside(const char *path, int64_t now_ms, char out[DISK_PATH_MAX])
{
    char log[DISK_PATH_MAX], log_aside[DISK_PATH_MAX];
    int r = 0;

    for (unsigned again = 0; r == 0; again++) {
        r = aside_name(out, path, now_ms, again);
        if (r == 0 && access(out, F_OK) < 0)
            break;
    }
    if (r == 0 && rename(path, out) < 0)
        r = -errno;
    if (r < 0)
        return r;
    if (path_with(log, path, "-wal") == 0 && path_with(log_aside, out, "-wal") == 0)
        (void)rename(log, log_aside);
    unlink_with(path, "-wal"); /* whatever it is, it must not be taken for the new file's */
    unlink_with(path, "-shm");
    sync_directory(path);
    (void)disk_file_drop_aside(path, DISK_ASIDE_KEPT);
    return 0;
}

static int by_name_newest_first(const void *a, const void *b)
{
    return strcmp(b, a);
}

static bool is_aside(const char *name, const char *base)
{
    size_t len = strlen(base);
    const char *end = strrchr(name, '-');

    return strncmp(name, base, len) == 0 && strncmp(name + len, aside_infix, sizeof(aside_infix) - 1) == 0 &&
           strcmp(end, "-wal") != 0;
}

unsigned disk_file_drop_aside(const char *path, unsigned keep)
{
    const char *slash = strrchr(path, '/');
    char directory[DISK_PATH_MAX], name[DISK_PATH_MAX];
    char(*seen)[NAME_MAX + 1] = calloc(ASIDE_SEEN_MAX, sizeof(*seen));
    DIR *dir = seen && directory_of(directory, path) == 0 ? opendir(directory) : NULL;
    struct dirent *entry;
    size_t n = 0;
    unsigned dropped = 0;

    while (dir && n < ASIDE_SEEN_MAX && (entry = readdir(dir)) != NULL)
        if (is_aside(entry->d_name, slash ? slash + 1 : path))
            memcpy(seen[n++], entry->d_name, strlen(entry->d_name) + 1);
    if (n > 0)
        qsort(seen, n, sizeof(*seen), by_name_newest_first);
    for (size_t i = keep; i < n; i++) {
        (void)snprintf(name, sizeof(name), "%.*s%s", (int)(slash ? slash + 1 - path : 0), path, seen[i]);
        unlink_with(name, "-wal");
        dropped += unlink(name) == 0;
    }
    if (dir)
        (void)closedir(dir);
    free(seen);
    return dropped;
}
