/*
 * store_disk_file - the disk tier's file as the file system has it: whose it is, what it is, what lies beside
 * it. Never opens the file itself: to close it again would let go the locks that SQLite holds on it (POSIX
 * locks belong to the process).
 *
 * Threads: any, one at a time for a path.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { DISK_PATH_MAX = 4096, DISK_ASIDE_KEPT = 2 };

enum disk_file_kind { DISK_FILE_ABSENT, DISK_FILE_REGULAR, DISK_FILE_OTHER };

struct disk_file {
    enum disk_file_kind kind; /* OTHER: a directory, a link, a device: not ours to touch */
    uint64_t device, inode;
    uint64_t bytes, log_bytes;
    bool has_log;
};
/** What lies at @path, and the log beside it. */
void disk_file_look(const char *path, struct disk_file *out);

/**
 * Takes the lock that makes the file this process's: on PATH.lock, which stays. @out_fd: close it to let go.
 * Errors: -EWOULDBLOCK when another process has it; else what the system says.
 */
int disk_file_lock(const char *path, int *out_fd);
/** Makes an empty file, for nobody else to read: SQLite would let everybody. Nothing where there is one. No
 * connection may be open. */
void disk_file_make(const char *path);
/** True when file and directory may be written. */
bool disk_file_is_writable(const char *path);
/** True on NFS, SMB and the like, where SQLite's shared memory is not safe. */
bool disk_file_on_network(const char *path);

/** Has the medium keep @bytes for the log, as far as it can. */
void disk_file_reserve_log(const char *path, int64_t bytes);
/** Free bytes where the file lies; UINT64_MAX when the system does not tell. */
uint64_t disk_file_free_bytes(const char *path);

/**
 * Renames file and log to PATH.corrupt-TIME and drops the oldest such but DISK_ASIDE_KEPT. @out: the new
 * name. Errors: what the system says; the file is where it was then. No connection may be open.
 */
int disk_file_set_aside(const char *path, int64_t now_ms, char out[DISK_PATH_MAX]);
/** Removes file and log. 0 also when there is none. No connection may be open. */
int disk_file_remove(const char *path);
/** Removes all that were set aside but the newest @keep; returns how many were. */
unsigned disk_file_drop_aside(const char *path, unsigned keep);
