/*
 * store_disk_db - one connection to the disk tier's file, in the tier's words: entries, values, transactions,
 * room. Nothing of threads, queues or time; what SQLite wants for it is store_disk_sql's, whose file it is
 * store_disk_schema's.
 *
 * Threads: a connection belongs to the thread that opened it. One writes, others read beside it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/slice.h"
#include "refrain/store/blob.h"
#include "refrain/store/tier.h"

enum disk_db_result {
    DB_OK,
    DB_ABSENT,
    DB_NEWER,     /* what lies there is of a later start */
    DB_REFUSED,   /* more than there may be of it */
    DB_BUSY,      /* somebody else holds the file */
    DB_FULL,      /* no room: on the medium, or within the bound */
    DB_READ_ONLY, /* the place may not be written */
    DB_DAMAGED,   /* this is not what was written */
    DB_STRANGER,  /* a database of some other program's */
    DB_FUTURE,    /* of a later version */
    DB_TROUBLE,   /* input/output error, no memory: it may work again later */
};

enum disk_db_mode {
    DB_WRITER, /* makes the file where there is none */
    DB_READER,
    DB_FROZEN, /* reads a file to which nobody writes, where nothing can be written, as if it had no log */
    DB_FROZEN_WITH_LOG,
};

struct disk_db;

struct disk_db_conf {
    const char *path;
    enum disk_db_mode mode;
    /* Writer: no other connection of this process is open on the file. Then a log beside it that belongs to
     * another file is found out. */
    bool alone;
    int64_t log_bytes_keep; /* writer: to this size the log is cut back once it is copied into the file */
    int64_t chunk_bytes;    /* writer: the file grows by so many bytes, so that what is committed has room */
};

/** Errors: any but ABSENT, NEWER; what was opened is closed again. @out_error: an errno of the system's, or
 * 0.
 */
enum disk_db_result disk_db_open(const struct disk_db_conf *conf, struct disk_db **out, int *out_error);
/** Closes; a transaction under way is undone. The log is left as it is. NULL is fine. */
void disk_db_close(struct disk_db *db);
/** The system's last error on this connection; 0: none known. */
int disk_db_errno(const struct disk_db *db);

/* -- reading -- */

struct disk_found {
    int64_t n; /* its row, as long as it is there */
    int64_t gone_ms;
    int64_t used;
    struct blob *blob; /* the caller's */
};
enum disk_db_result disk_db_get(struct disk_db *db, const struct digest *key, struct disk_found *out);
enum disk_db_result disk_db_record(struct disk_db *db, int64_t n, struct blob **out);

struct disk_walk {
    int64_t after; /* begins behind this row; 0: at the first. Moved on */
    size_t rows_max;
    int64_t until_ns; /* monotonic; at least one row is looked at */
    bool at_end;      /* the answer: there are no more */
};
/**
 * Looks at the entries that may match, by the index that leaves out most, and calls back for each that does
 * match, in the order of their rows. What is borrowed is so for the call. @on_row returns false to have the
 * walk end behind this row.
 */
enum disk_db_result disk_db_walk(struct disk_db *db, const struct selector *which, struct disk_walk *walk,
                                 bool (*on_row)(void *arg, int64_t n, const struct tier_item *item),
                                 void *arg);
enum disk_db_result disk_db_meta_get(struct disk_db *db, struct slice name, struct blob **out);

/* -- writing: within a transaction -- */

/** @synced: the commit waits until all that was ever committed is on the medium. */
enum disk_db_result disk_db_begin(struct disk_db *db, bool synced);
enum disk_db_result disk_db_commit(struct disk_db *db);
void disk_db_rollback(struct disk_db *db);

/** @used: its place in the order of last use. @out_replaced: one of that key was there. */
enum disk_db_result disk_db_put(struct disk_db *db, const struct tier_item *item, const struct blob *blob,
                                bool only_newer, int64_t used, bool *out_replaced);
/** The row of @key; DB_ABSENT also where @only is given and its bytes are not what lies there. */
enum disk_db_result disk_db_find(struct disk_db *db, const struct digest *key, const struct slice *only,
                                 int64_t *out_n);
/** Harmless where there is no such row. */
enum disk_db_result disk_db_delete(struct disk_db *db, int64_t n);
/** Moves row @n to @used, if it still stands at @was. */
enum disk_db_result disk_db_touch(struct disk_db *db, int64_t n, int64_t was, int64_t used);
enum disk_db_result disk_db_meta_put(struct disk_db *db, struct slice name, struct slice value);

/* -- keeping house -- */

/** Rows that are gone by @now_ms, @max at most; how many in @out_n. */
enum disk_db_result disk_db_expired(struct disk_db *db, int64_t now_ms, int64_t *rows, size_t max,
                                    size_t *out_n);
/** The rows longest not used, @max at most. */
enum disk_db_result disk_db_oldest(struct disk_db *db, int64_t *rows, size_t max, size_t *out_n);
/** Both ends of the order of last use; zeros where there are no entries. */
enum disk_db_result disk_db_used_range(struct disk_db *db, int64_t *out_oldest, int64_t *out_newest);

struct disk_space {
    uint64_t page_bytes, pages, pages_free; /* of the file, all and unused ones */
};
enum disk_db_result disk_db_space(struct disk_db *db, struct disk_space *out);
/** The file may not have more pages than this: a bolt behind what the caller does about it. */
void disk_db_limit(struct disk_db *db, uint64_t pages);
/** Makes sure that the medium has room for a file of @bytes. */
enum disk_db_result disk_db_reserve(struct disk_db *db, uint64_t bytes);
uint64_t disk_db_entries(const struct disk_db *db);

struct disk_log {
    uint64_t frames, copied; /* in the log, a page each, and how many of them are in the file as well */
};
/** As of the last commit or checkpoint. */
struct disk_log disk_db_log(const struct disk_db *db);

enum disk_checkpoint {
    CHECKPOINT_STEP, /* copies what it can without waiting for readers */
    CHECKPOINT_ALL,  /* waits a little for readers, so that the log begins anew */
    CHECKPOINT_LAST, /* and makes it empty */
};
enum disk_db_result disk_db_checkpoint(struct disk_db *db, enum disk_checkpoint how);
/** Gives back up to @pages unused pages at the end of the file. Not within a transaction. */
enum disk_db_result disk_db_vacuum(struct disk_db *db, unsigned pages);
