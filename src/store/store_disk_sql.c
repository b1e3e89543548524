#include "store_disk_sql.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "refrain/base/buf.h"

enum { READER_WAIT_MS = 20, WRITER_WAIT_MS = 100 }; /* for somebody else's lock */
enum { EXECUTE_BYTES_MAX = 4096 };

#define STATEMENT_X(id, text) [SQL_##id] = (text),
static const char *const statement_text[SQL_COUNT] = {DISK_STATEMENTS(STATEMENT_X)};
#undef STATEMENT_X

/* -- what an error means -- */

static enum disk_db_result judge_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return DB_FULL;
    case EROFS:
    case EACCES:
    case EPERM:
        return DB_READ_ONLY;
    default:
        return DB_TROUBLE;
    }
}

static enum disk_db_result judge_io(int extended, int error)
{
    switch (extended) {
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_CORRUPTFS:
    case SQLITE_IOERR_DATA:
        return DB_DAMAGED;
    default:
        return judge_errno(error);
    }
}

static enum disk_db_result judge(sqlite3 *sqlite, int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return DB_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return DB_BUSY;
    case SQLITE_FULL:
        return DB_FULL;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return DB_READ_ONLY;
    case SQLITE_CANTOPEN:
        return judge_errno(sqlite3_system_errno(sqlite));
    case SQLITE_IOERR:
        return judge_io(rc, sqlite3_system_errno(sqlite));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_CONSTRAINT: /* an index that tells of a row which the table does not have, or the like */
    case SQLITE_MISMATCH:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR: /* no such table or column: the statements are our own */
        return DB_DAMAGED;
    default:
        return DB_TROUBLE;
    }
}

int sql_errno(const struct sql *s)
{
    return s->handle ? sqlite3_system_errno(s->handle) : 0;
}

/* -- opening -- */

/* A log that has become no longer was begun anew. */
static int on_log(void *arg, sqlite3 *handle, const char *name, int frames)
{
    struct sql *s = arg;

    (void)handle;
    (void)name;
    if ((uint64_t)frames <= s->log.frames)
        s->log.copied = 0;
    s->log.frames = (uint64_t)frames;
    return SQLITE_OK;
}

/* As a URI, in which only these bytes of a path mean something. */
static int frozen_uri(struct buf *out, const char *path)
{
    int failed = buf_add_slice(out, SLICE_OF("file:"));

    for (; *path; path++)
        failed |=
            strchr("%?#", *path) ? buf_addf(out, "%%%02x", (unsigned char)*path) : buf_add_byte(out, *path);
    failed |= buf_add_slice(out, SLICE_OF("?immutable=1"));
    return failed | buf_add_byte(out, '\0');
}

static const int mode_flags[] = {
    [DB_WRITER] = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
    [DB_READER] = SQLITE_OPEN_READWRITE, /* of what readers of a log share; query_only keeps the rest */
    [DB_FROZEN] = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI,
    [DB_FROZEN_WITH_LOG] = SQLITE_OPEN_READONLY,
};

enum disk_db_result sql_open(struct sql *s, const char *path, enum disk_db_mode mode)
{
    AUTO(buf_done) struct buf uri = BUF_INIT(16384);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | mode_flags[mode], rc;

    *s = (struct sql){.handle = NULL};
    if (mode == DB_FROZEN && frozen_uri(&uri, path) < 0)
        return DB_TROUBLE;
    rc = sqlite3_open_v2(mode == DB_FROZEN ? uri.data : path, &s->handle, flags, NULL);
    if (rc != SQLITE_OK)
        return judge(s->handle, rc);
    (void)sqlite3_busy_timeout(s->handle, mode == DB_WRITER ? WRITER_WAIT_MS : READER_WAIT_MS);
    /* By its name SQLite would remove the log of whatever lies there by then. */
    (void)sqlite3_db_config(s->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_db_config(s->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (mode == DB_WRITER)
        (void)sqlite3_wal_hook(s->handle, on_log, s); /* and no checkpoints of SQLite's own */
    return sql_execute(s, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0");
}

void sql_close(struct sql *s)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(s->statements[i]);
    (void)sqlite3_close(s->handle);
    *s = (struct sql){.handle = NULL};
}

/* -- statements -- */

enum disk_db_result sql_execute(struct sql *s, const char *fmt, ...)
{
    char text[EXECUTE_BYTES_MAX];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(text))
        return DB_TROUBLE;
    return judge(s->handle, sqlite3_exec(s->handle, text, NULL, NULL, NULL));
}

void sql_end(struct sqlite3_stmt **statement)
{
    if (!*statement)
        return;
    (void)sqlite3_reset(*statement); /* repeats the error of the last step */
    (void)sqlite3_clear_bindings(*statement);
}

static enum disk_db_result prepare(struct sql *s, enum sql_id id)
{
    if (s->statements[id])
        return DB_OK;
    return judge(s->handle, sqlite3_prepare_v3(s->handle, statement_text[id], -1, SQLITE_PREPARE_PERSISTENT,
                                               &s->statements[id], NULL));
}

/* What cannot be bound for lack of memory is NULL, which no column takes. */
static void bind(sqlite3_stmt *st, int at, const struct sql_value *v)
{
    const char *bytes = v->bytes.len > 0 ? v->bytes.data : "";

    switch (v->is) {
    case SQL_IS_NULL:
        return;
    case SQL_IS_INT:
        (void)sqlite3_bind_int64(st, at, v->n);
        return;
    case SQL_IS_TEXT:
        (void)sqlite3_bind_text64(st, at, bytes, v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
        return;
    case SQL_IS_BYTES:
        (void)sqlite3_bind_blob64(st, at, bytes, v->bytes.len, SQLITE_STATIC);
        return;
    }
}

enum disk_db_result sql_next(struct sql *s, struct sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);

    return rc == SQLITE_DONE ? DB_ABSENT : judge(s->handle, rc);
}

enum disk_db_result sql_ask(struct sql *s, enum sql_id id, const struct sql_value *args, size_t n,
                            struct sqlite3_stmt **out)
{
    enum disk_db_result r = prepare(s, id);

    if (r != DB_OK)
        return r;
    *out = s->statements[id];
    for (size_t i = 0; i < n; i++)
        bind(*out, (int)i + 1, &args[i]);
    return sql_next(s, *out);
}

enum disk_db_result sql_run(struct sql *s, enum sql_id id, const struct sql_value *args, size_t n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = sql_ask(s, id, args, n, &st);

    return r == DB_ABSENT ? DB_OK : r;
}

enum disk_db_result sql_ask_int(struct sql *s, enum sql_id id, int64_t *out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = sql_ask(s, id, NULL, 0, &st);

    if (r == DB_OK)
        *out = sqlite3_column_int64(st, 0);
    return r;
}

int64_t sql_column_int(struct sqlite3_stmt *statement, int at)
{
    return sqlite3_column_int64(statement, at);
}

struct slice sql_column_text(struct sqlite3_stmt *statement, int at)
{
    const void *text =
        sqlite3_column_text(statement, at); /* first: it may convert, which changes the length */

    return slice_make(text, text ? (size_t)sqlite3_column_bytes(statement, at) : 0);
}

struct slice sql_column_bytes(struct sqlite3_stmt *statement, int at)
{
    const void *bytes = sqlite3_column_blob(statement, at);

    return slice_make(bytes, bytes ? (size_t)sqlite3_column_bytes(statement, at) : 0);
}

int64_t sql_inserted(const struct sql *s)
{
    return sqlite3_last_insert_rowid(s->handle);
}

void sql_rollback(struct sql *s)
{
    if (!sqlite3_get_autocommit(s->handle)) /* SQLite itself undoes some that failed */
        (void)sql_execute(s, "ROLLBACK");
}

/* -- the file and its log -- */

void sql_grow_by(struct sql *s, int64_t bytes)
{
    int chunk = (int)bytes;

    (void)sqlite3_file_control(s->handle, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
}

enum disk_db_result sql_reserve(struct sql *s, uint64_t bytes)
{
    sqlite3_int64 wanted = (sqlite3_int64)bytes;
    enum disk_db_result r;

    errno = 0;
    r = judge(s->handle, sqlite3_file_control(s->handle, "main", SQLITE_FCNTL_SIZE_HINT, &wanted));
    return r == DB_TROUBLE && judge_errno(errno) == DB_FULL ? DB_FULL : r;
}

enum disk_db_result sql_checkpoint(struct sql *s, enum disk_checkpoint how)
{
    static const int modes[] = {
        [CHECKPOINT_STEP] = SQLITE_CHECKPOINT_PASSIVE,
        [CHECKPOINT_ALL] = SQLITE_CHECKPOINT_RESTART,
        [CHECKPOINT_LAST] = SQLITE_CHECKPOINT_TRUNCATE,
    };
    int frames = 0, copied = 0;
    enum disk_db_result r =
        judge(s->handle, sqlite3_wal_checkpoint_v2(s->handle, "main", modes[how], &frames, &copied));

    if (r == DB_OK && frames >= 0 && copied >= 0)
        s->log = (struct disk_log){(uint64_t)frames, (uint64_t)copied};
    return r;
}
