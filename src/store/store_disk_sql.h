/*
 * store_disk_sql - SQLite, as the disk tier uses it: the only place that knows it. A connection, its
 * statements, and what errors mean. What the statements say: store_disk_statements.h.
 *
 * Threads: a connection belongs to the thread that opened it.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/attr.h"
#include "refrain/base/slice.h"
#include "store_disk_db.h"
#include "store_disk_statements.h"

struct sqlite3;
struct sqlite3_stmt;

struct sql {
    struct sqlite3 *handle;
    struct sqlite3_stmt *statements[SQL_COUNT]; /* prepared when first used */
    struct disk_log log;                        /* as of the last commit or checkpoint */
};

/** Errors: those of disk_db_open. What was opened is open after one, too: sql_close. */
enum disk_db_result sql_open(struct sql *s, const char *path, enum disk_db_mode mode);
/** Undoes a transaction under way, leaves the log as it is. Harmless where nothing was opened. */
void sql_close(struct sql *s);
/** The system's last error on this connection; 0: none known. */
int sql_errno(const struct sql *s);

/** Statements of no interest but their success; several may be parted by `;`. */
enum disk_db_result sql_execute(struct sql *s, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* One argument of a statement, borrowed until the statement ends. */
struct sql_value {
    enum { SQL_IS_NULL, SQL_IS_INT, SQL_IS_TEXT, SQL_IS_BYTES } is;
    int64_t n;
    struct slice bytes;
};

static inline struct sql_value sql_int(int64_t n)
{
    return (struct sql_value){SQL_IS_INT, n, {NULL, 0}};
}

static inline struct sql_value sql_text(struct slice text)
{
    return (struct sql_value){SQL_IS_TEXT, 0, text};
}

static inline struct sql_value sql_bytes(const void *bytes, size_t len)
{
    return (struct sql_value){SQL_IS_BYTES, 0, slice_make(bytes, len)};
}

/** For AUTO: a statement that has been asked holds locks until it ends. NULL is fine. */
void sql_end(struct sqlite3_stmt **statement);
#define STATEMENT AUTO(sql_end) struct sqlite3_stmt *

/** DB_OK: *@out stands at the first row. DB_ABSENT: there is none. @out is to be ended whatever comes. */
enum disk_db_result sql_ask(struct sql *s, enum sql_id id, const struct sql_value *args, size_t n,
                            struct sqlite3_stmt **out);
/** On to the next row; DB_ABSENT: no more. */
enum disk_db_result sql_next(struct sql *s, struct sqlite3_stmt *statement);
/** A statement that brings no rows. */
enum disk_db_result sql_run(struct sql *s, enum sql_id id, const struct sql_value *args, size_t n);
/** The one number that a statement without arguments brings. */
enum disk_db_result sql_ask_int(struct sql *s, enum sql_id id, int64_t *out);

/* The same with the arguments as they come: SQL_RUN(s, TOUCH, sql_int(n), …). */
#define SQL_ARGS(...)                                                                                        \
    (const struct sql_value[]){__VA_ARGS__},                                                                 \
        sizeof((struct sql_value[]){__VA_ARGS__}) / sizeof(struct sql_value)
#define SQL_ASK(s, id, out, ...) sql_ask((s), (id), SQL_ARGS(__VA_ARGS__), (out))
#define SQL_RUN(s, id, ...)      sql_run((s), (id), SQL_ARGS(__VA_ARGS__))

/* What stands in column @at of the row; borrowed until the statement goes on or ends. */
int64_t sql_column_int(struct sqlite3_stmt *statement, int at);
struct slice sql_column_text(struct sqlite3_stmt *statement, int at);
struct slice sql_column_bytes(struct sqlite3_stmt *statement, int at);

/** The row that was inserted last. */
int64_t sql_inserted(const struct sql *s);
/** Undoes the transaction under way, unless SQLite has done so by itself. */
void sql_rollback(struct sql *s);

/** The file grows by so many bytes at a time. */
void sql_grow_by(struct sql *s, int64_t bytes);
/** Makes sure that the medium has room for a file of @bytes. */
enum disk_db_result sql_reserve(struct sql *s, uint64_t bytes);
enum disk_db_result sql_checkpoint(struct sql *s, enum disk_checkpoint how);
