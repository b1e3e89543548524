#include "refrain/base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "refrain/base/attr.h"

static void file_close(FILE **f)
{
    if (*f)
        (void)fclose(*f);
}

static void dir_close(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

/* The fields of /proc/self/stat behind the command, which may itself hold blanks and parentheses. */
static int read_stat(struct process_stat *p, double *start_after_boot_s)
{
    unsigned long long user, system, start, virtual_bytes;
    double tick = (double)sysconf(_SC_CLK_TCK);
    AUTO(file_close) FILE *f = fopen("/proc/self/stat", "re");
    char text[2048], *rest;
    long threads, pages;
    size_t n;

    if (!f)
        return -errno;
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    rest = strrchr(text, ')');
    if (!rest ||
        sscanf(rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld %*d %llu %llu %ld",
               &user, &system, &threads, &start, &virtual_bytes, &pages) != 6)
        return -EPROTO;
    p->cpu_s = (double)(user + system) / tick;
    p->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    p->virtual_bytes = virtual_bytes;
    p->threads = (uint64_t)threads;
    *start_after_boot_s = (double)start / tick;
    return 0;
}

static int count_fds(uint64_t *out)
{
    AUTO(dir_close) DIR *d = opendir("/proc/self/fd");
    uint64_t n = 0;

    if (!d)
        return -errno;
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    *out = n - 1; /* not the one that reads */
    return 0;
}

static double boot_time_s(void)
{
    struct timespec now, up;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9;
}

int process_stat_read(struct process_stat *out)
{
    struct process_stat p = {0};
    struct rlimit limit;
    double start = 0;
    int r = read_stat(&p, &start);

    if (r == 0)
        r = count_fds(&p.fds_open);
    if (r < 0)
        return r;
    p.fds_max = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (uint64_t)limit.rlim_cur : 0;
    p.start_s = boot_time_s() + start;
    *out = p;
    return 0;
}

/* On Linux the value is a thread's own, whatever POSIX says: setpriority(2), "C library/kernel differences".
 */
void process_thread_yield(int by)
{
    id_t self = (id_t)gettid();
    int now;

    errno = 0;
    now = getpriority(PRIO_PROCESS, self);
    if (errno == 0)
        (void)setpriority(PRIO_PROCESS, self, now + by); /* what is over 19 is 19 */
}

int process_standard_hold(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR); /* the lowest that is free; inherited as the others are */
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        return -errno;
    (void)close(fd);
    return 0;
}
