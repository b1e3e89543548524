/*
 * process - what the kernel says of this process: proc(5); what it is told of a thread; the standard
 * descriptors.
 */
#pragma once
#include <stdint.h>

struct process_stat {
    double cpu_s; /* user and system time of all threads */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t fds_open, fds_max;
    double start_s; /* since the epoch */
    uint64_t threads;
};

/** Reads /proc/self. Errors: negative errno when it is not mounted or cannot be understood; @out untouched
 * then. Cost: some 20 us; not for a request's path. Threads: any. */
int process_stat_read(struct process_stat *out);

/** The calling thread, and who is begun by it from now on, gives way to the others of this process: its nice
 * value grows by
 * @by, to 19 at most. Wants no right; there is no way back for who has none. Errors: none that matter, it
 * stays as it was then. */
void process_thread_yield(int by);

/** Opens /dev/null as those of standard input, output and error that are closed, so that nothing else is
 * taken for one of them: what is written to standard error would go into a socket, or into a pipe of the
 * loop's own. Before anything is opened, by the only thread. Errors: negative errno when there is no
 * /dev/null. */
int process_standard_hold(void);
