/*
 * process - what the kernel says of this process: proc(5).
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
