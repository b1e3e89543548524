/*
 * process - what the kernel says of this process: proc(5); and what it is told of a thread.
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
