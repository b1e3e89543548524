#include "store_disk_db.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"
#include "refrain/store/store_disk.h"

/*
 * Two tables hold an entry: `entries` what is known of it, in a few hundred bytes, and `records` its bytes.
 * So a walk over all entries reads a tenth of the file or less, and the pages of records are filled one after
 * the other. `file` is one row that every commit writes: its page is in every log, and so tells whose log it
 * is.
 */
enum { APPLICATION_ID = 0x5266726e, SCHEMA_VERSION = 1 }; /* "Rfrn" */
enum { PAGE_BYTES = 8192, FILE_ID_BYTES = 16 };
enum { READER_WAIT_MS = 20, WRITER_WAIT_MS = 100 }; /* for somebody else's lock */
enum { WRITER_CACHE_KIB = 8192, READER_CACHE_KIB = 1024 };

static const char schema[] =
    "CREATE TABLE file(one INTEGER PRIMARY KEY CHECK(one = 1), id BLOB NOT NULL, made INTEGER NOT NULL,"
    " commits INTEGER NOT NULL, entries INTEGER NOT NULL);"
    "CREATE TABLE entries(n INTEGER PRIMARY KEY, key BLOB NOT NULL, name TEXT NOT NULL,"
    " namespace TEXT NOT NULL, operation TEXT NOT NULL, model TEXT NOT NULL, id TEXT NOT NULL,"
    " tags TEXT NOT NULL, target INTEGER NOT NULL, family INTEGER NOT NULL, created INTEGER NOT NULL, gone "
    "INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, used INTEGER NOT NULL, bytes INTEGER NOT NULL);"
    "CREATE UNIQUE INDEX entries_key ON entries(key);"
    "CREATE INDEX entries_gone ON entries(gone);"
    "CREATE INDEX entries_used ON entries(used);"
    "CREATE INDEX entries_id ON entries(id);"
    "CREATE INDEX entries_namespace ON entries(namespace);"
    "CREATE INDEX entries_operation ON entries(operation);"
    "CREATE INDEX entries_target ON entries(target) WHERE target <> 0;"
    "CREATE TABLE records(n INTEGER PRIMARY KEY, record BLOB NOT NULL);"
    "CREATE TABLE tags(tag TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(tag, n)) WITHOUT ROWID;"
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

#define LABEL_COLUMNS                                                                                        \
    "e.n, e.key, e.id, e.namespace, e.operation, e.model, e.tags, e.target, e.created, e.seq, e.gone, "      \
    "e.family"

/* One row a statement: prepared when first used, kept as long as the connection. */
#define STATEMENTS(X)                                                                                        \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                              \
    X(COMMIT, "COMMIT")                                                                                      \
    X(PULSE, "UPDATE file SET commits = commits + 1, entries = ?1")                                          \
    X(GET, "SELECT e.n, e.gone, e.used, r.record FROM entries e CROSS JOIN records r ON r.n = e.n"           \
           " WHERE e.key = ?1")                                                                              \
    X(RECORD, "SELECT record FROM records WHERE n = ?1")                                                     \
    X(FIND, "SELECT n, seq, tags FROM entries WHERE key = ?1")                                               \
    X(TAGS_OF, "SELECT tags FROM entries WHERE n = ?1")                                                      \
    X(INSERT, "INSERT INTO entries(n, key, name, namespace, operation, model, id, tags, target, created,"    \
              " gone, seq, used, bytes, family) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, "  \
              "?13, ?14, ?15)")                                                                              \
    X(INSERT_RECORD, "INSERT INTO records(n, record) VALUES(?1, ?2)")                                        \
    X(REPLACE, "UPDATE entries SET key = ?2, name = ?3, namespace = ?4, operation = ?5, model = ?6,"         \
               " id = ?7, tags = ?8, target = ?9, created = ?10, gone = ?11, seq = ?12, used = ?13,"         \
               " bytes = ?14, family = ?15 WHERE n = ?1")                                                    \
    X(REPLACE_RECORD, "UPDATE records SET record = ?2 WHERE n = ?1")                                         \
    X(INSERT_TAG, "INSERT OR IGNORE INTO tags(tag, n) VALUES(?1, ?2)")                                       \
    X(DELETE_TAG, "DELETE FROM tags WHERE tag = ?1 AND n = ?2")                                              \
    X(DELETE, "DELETE FROM entries WHERE n = ?1")                                                            \
    X(DELETE_RECORD, "DELETE FROM records WHERE n = ?1")                                                     \
    X(TOUCH, "UPDATE entries SET used = ?3 WHERE n = ?1 AND used = ?2")                                      \
    X(WALK_ALL, "SELECT " LABEL_COLUMNS " FROM entries e WHERE e.n > ?1 ORDER BY e.n")                       \
    X(WALK_ID, "SELECT " LABEL_COLUMNS " FROM entries e INDEXED BY entries_id"                               \
               " WHERE e.id = ?2 AND e.n > ?1 ORDER BY e.n")                                                 \
    X(WALK_TAG, "SELECT " LABEL_COLUMNS " FROM tags t CROSS JOIN entries e ON e.n = t.n"                     \
                " WHERE t.tag = ?2 AND t.n > ?1 ORDER BY t.n")                                               \
    X(WALK_TARGET, "SELECT " LABEL_COLUMNS " FROM entries e INDEXED BY entries_target"                       \
                   " WHERE e.target = ?2 AND e.target <> 0 AND e.n > ?1 ORDER BY e.n")                       \
    X(WALK_NAMESPACE, "SELECT " LABEL_COLUMNS " FROM entries e INDEXED BY entries_namespace"                 \
                      " WHERE e.namespace = ?2 AND e.n > ?1 ORDER BY e.n")                                   \
    X(WALK_OPERATION, "SELECT " LABEL_COLUMNS " FROM entries e INDEXED BY entries_operation"                 \
                      " WHERE e.operation = ?2 AND e.n > ?1 ORDER BY e.n")                                   \
    X(EXPIRED, "SELECT n FROM entries WHERE gone <= ?1 ORDER BY gone LIMIT ?2")                              \
    X(OLDEST, "SELECT n FROM entries ORDER BY used LIMIT ?1")                                                \
    X(USED_RANGE, "SELECT (SELECT min(used) FROM entries), (SELECT max(used) FROM entries)")                 \
    X(META_GET, "SELECT value FROM meta WHERE name = ?1")                                                    \
    X(META_PUT, "INSERT OR REPLACE INTO meta(name, value) VALUES(?1, ?2)")                                   \
    X(META_COUNT, "SELECT count(*) FROM meta WHERE name <> ?1")                                              \
    X(PAGES, "PRAGMA page_count")                                                                            \
    X(PAGES_FREE, "PRAGMA freelist_count")

#define STATEMENT_X(id, text) SQL_##id,
enum sql { STATEMENTS(STATEMENT_X) SQL_COUNT };
#undef STATEMENT_X
#define STATEMENT_X(id, text) [SQL_##id] = (text),
static const char *const sql_text[SQL_COUNT] = {STATEMENTS(STATEMENT_X)};
#undef STATEMENT_X

struct disk_db {
    sqlite3 *sqlite;
    sqlite3_stmt *statements[SQL_COUNT];
    uint64_t page_bytes;
    uint64_t entries, entries_committed;
    struct disk_log log;
    uint8_t file_id[FILE_ID_BYTES];
    bool synced; /* as the connection stands now */
};

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

int disk_db_errno(const struct disk_db *db)
{
    return db ? sqlite3_system_errno(db->sqlite) : 0;
}

/* -- statements -- */

/* For AUTO: a statement that has been stepped holds locks until it is reset. */
static void statement_end(sqlite3_stmt **st)
{
    if (!*st)
        return;
    (void)sqlite3_reset(*st); /* repeats the error of the last step */
    (void)sqlite3_clear_bindings(*st);
}
#define STATEMENT AUTO(statement_end) sqlite3_stmt *

static enum disk_db_result statement(struct disk_db *db, enum sql sql, sqlite3_stmt **out)
{
    int rc;

    if (!db->statements[sql]) {
        rc = sqlite3_prepare_v3(db->sqlite, sql_text[sql], -1, SQLITE_PREPARE_PERSISTENT,
                                &db->statements[sql], NULL);
        if (rc != SQLITE_OK)
            return judge(db->sqlite, rc);
    }
    *out = db->statements[sql];
    return DB_OK;
}

/* DB_OK: there is a row; DB_ABSENT: no more. */
static enum disk_db_result step(struct disk_db *db, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    return rc == SQLITE_DONE ? DB_ABSENT : judge(db->sqlite, rc);
}

/* A statement that brings no rows. */
static enum disk_db_result finish(struct disk_db *db, sqlite3_stmt *st)
{
    enum disk_db_result r = step(db, st);

    return r == DB_ABSENT ? DB_OK : r;
}

/* What cannot be bound for lack of memory is NULL, which no column takes. */
static void bind_text(sqlite3_stmt *st, int at, struct slice text)
{
    (void)sqlite3_bind_text64(st, at, text.len ? text.data : "", text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static void bind_bytes(sqlite3_stmt *st, int at, const void *bytes, size_t len)
{
    (void)sqlite3_bind_blob64(st, at, len ? bytes : "", len, SQLITE_STATIC);
}

static void bind_int(sqlite3_stmt *st, int at, int64_t value)
{
    (void)sqlite3_bind_int64(st, at, value);
}

static struct slice column_text(sqlite3_stmt *st, int at)
{
    const void *text = sqlite3_column_text(st, at); /* first: it may convert, which changes the length */

    return slice_make(text, text ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static struct slice column_bytes(sqlite3_stmt *st, int at)
{
    const void *bytes = sqlite3_column_blob(st, at);

    return slice_make(bytes, bytes ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static enum disk_db_result column_copy(sqlite3_stmt *st, int at, struct blob **out)
{
    struct slice bytes = column_bytes(st, at);
    struct blob *b = blob_new(bytes.len);

    if (!b)
        return DB_TROUBLE;
    if (bytes.len > 0)
        memcpy(b->bytes, bytes.data, bytes.len);
    *out = b;
    return DB_OK;
}

static enum disk_db_result execute(struct disk_db *db, const char *text)
{
    return judge(db->sqlite, sqlite3_exec(db->sqlite, text, NULL, NULL, NULL));
}

/* The one value that a statement of the opening brings. */
static enum disk_db_result ask_int(struct disk_db *db, const char *text, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    enum disk_db_result r = judge(db->sqlite, sqlite3_prepare_v2(db->sqlite, text, -1, &st, NULL));

    if (r == DB_OK)
        r = step(db, st);
    if (r == DB_OK)
        *out = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return r;
}

/* -- opening -- */

static enum disk_db_result read_file_row(struct disk_db *db)
{
    sqlite3_stmt *st = NULL;
    enum disk_db_result r =
        judge(db->sqlite, sqlite3_prepare_v2(db->sqlite, "SELECT id, entries FROM file", -1, &st, NULL));

    if (r == DB_OK)
        r = step(db, st);
    if (r == DB_OK) {
        struct slice id = column_bytes(st, 0);

        if (id.len == FILE_ID_BYTES)
            memcpy(db->file_id, id.data, FILE_ID_BYTES);
        else
            r = DB_DAMAGED;
        db->entries = db->entries_committed = (uint64_t)sqlite3_column_int64(st, 1);
    }
    (void)sqlite3_finalize(st);
    return r == DB_ABSENT ? DB_DAMAGED : r;
}

static enum disk_db_result make_schema(struct disk_db *db)
{
    uint8_t id[FILE_ID_BYTES];
    AUTO(buf_done) struct buf text = BUF_INIT(sizeof(schema) + 1024);
    enum disk_db_result r;
    int failed;

    random_bytes(id, sizeof(id));
    failed = buf_addf(&text, "BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d;",
                      schema, APPLICATION_ID, SCHEMA_VERSION);
    failed |= buf_addf(&text, "INSERT INTO file VALUES(1, x'");
    for (size_t i = 0; i < sizeof(id); i++)
        failed |= buf_addf(&text, "%02x", id[i]);
    failed |= buf_addf(&text, "', %lld, 0, 0); COMMIT", (long long)clock_wall_ms());
    failed |= buf_add_byte(&text, '\0');
    if (failed)
        return DB_TROUBLE;
    r = execute(db, text.data);
    /* Into the file at once: by the row `file` there, a log of another file is told apart. */
    return r == DB_OK ? disk_db_checkpoint(db, CHECKPOINT_ALL) : r;
}

/* Whose file is it? DB_ABSENT: nobody's yet. */
static enum disk_db_result judge_schema(struct disk_db *db)
{
    int64_t tables = 0, application = 0, version = 0;
    enum disk_db_result r = ask_int(db, "SELECT count(*) FROM sqlite_schema", &tables);

    if (r == DB_OK)
        r = ask_int(db, "PRAGMA application_id", &application);
    if (r == DB_OK)
        r = ask_int(db, "PRAGMA user_version", &version);
    if (r != DB_OK)
        return r;
    if (tables == 0 && application == 0)
        return DB_ABSENT;
    if (application != APPLICATION_ID)
        return DB_STRANGER;
    if (version > SCHEMA_VERSION)
        return DB_FUTURE;
    return version == SCHEMA_VERSION ? read_file_row(db) : DB_DAMAGED;
}

static int on_log(void *arg, sqlite3 *sqlite, const char *name, int frames)
{
    struct disk_db *db = arg;

    (void)sqlite;
    (void)name;
    if ((uint64_t)frames <= db->log.frames)
        db->log.copied = 0; /* it was begun anew */
    db->log.frames = (uint64_t)frames;
    return SQLITE_OK;
}

static enum disk_db_result set_up_writer(struct disk_db *db, const struct disk_db_conf *conf)
{
    AUTO(buf_done) struct buf text = BUF_INIT(1024);
    int chunk = (int)conf->chunk_bytes;
    enum disk_db_result r;

    (void)sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
    /* Page size and vacuum mode count for a file that is made now. secure_delete is on in some builds and
     * would write every page of what is dropped. */
    if (buf_addf(&text,
                 "PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
                 "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = FAST; PRAGMA journal_size_limit = %lld;"
                 "PRAGMA cache_size = -%d;%c",
                 PAGE_BYTES, (long long)conf->log_bytes_keep, WRITER_CACHE_KIB, 0) < 0)
        return DB_TROUBLE;
    r = execute(db, text.data);
    (void)sqlite3_wal_hook(db->sqlite, on_log, db);
    if (r == DB_OK)
        r = judge_schema(db);
    if (r == DB_ABSENT)
        r = make_schema(db);
    return r == DB_OK ? read_file_row(db) : r;
}

static enum disk_db_result set_up_reader(struct disk_db *db)
{
    AUTO(buf_done) struct buf text = BUF_INIT(256);
    enum disk_db_result r;

    if (buf_addf(&text, "PRAGMA query_only = ON; PRAGMA cache_size = -%d;%c", READER_CACHE_KIB, 0) < 0)
        return DB_TROUBLE;
    r = execute(db, text.data);
    if (r == DB_OK)
        r = judge_schema(db);
    return r == DB_ABSENT ? DB_DAMAGED : r;
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

static enum disk_db_result open_plain(struct disk_db *db, const char *path, enum disk_db_mode mode)
{
    AUTO(buf_done) struct buf uri = BUF_INIT(16384);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, rc;

    if (mode == DB_FROZEN && frozen_uri(&uri, path) < 0)
        return DB_TROUBLE;
    flags |= mode_flags[mode];
    rc = sqlite3_open_v2(mode == DB_FROZEN ? uri.data : path, &db->sqlite, flags, NULL);
    if (rc != SQLITE_OK)
        return judge(db->sqlite, rc);
    (void)sqlite3_busy_timeout(db->sqlite, mode == DB_WRITER ? WRITER_WAIT_MS : READER_WAIT_MS);
    /* By its name SQLite would remove the log of whatever lies there by then. */
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return execute(db, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0");
}

/*
 * What the file itself says it is, its log left aside. A file that cannot be read so (it was never written,
 * or is in the middle of being copied to) says nothing.
 */
static bool file_id_without_log(const char *path, uint8_t id[FILE_ID_BYTES])
{
    struct disk_db db = {.sqlite = NULL};
    bool known = open_plain(&db, path, DB_FROZEN) == DB_OK && read_file_row(&db) == DB_OK;

    if (known)
        memcpy(id, db.file_id, FILE_ID_BYTES);
    (void)sqlite3_close(db.sqlite);
    return known;
}

enum disk_db_result disk_db_open(const struct disk_db_conf *conf, struct disk_db **out, int *out_error)
{
    struct disk_db *db = calloc(1, sizeof(*db));
    uint8_t id[FILE_ID_BYTES];
    bool known = false;
    int64_t page_bytes = 0;
    enum disk_db_result r;

    *out_error = 0;
    if (!db)
        return DB_TROUBLE;
    if (conf->mode == DB_WRITER && conf->alone)
        known = file_id_without_log(conf->path, id);
    r = open_plain(db, conf->path, conf->mode);
    if (r == DB_OK)
        r = conf->mode == DB_WRITER ? set_up_writer(db, conf) : set_up_reader(db);
    if (r == DB_OK)
        r = ask_int(db, "PRAGMA page_size", &page_bytes);
    if (r == DB_OK && known && memcmp(id, db->file_id, FILE_ID_BYTES) != 0)
        r = DB_DAMAGED; /* the log is another file's */
    if (r != DB_OK) {
        *out_error = db->sqlite ? sqlite3_system_errno(db->sqlite) : 0;
        disk_db_close(db);
        return r;
    }
    db->page_bytes = (uint64_t)page_bytes;
    *out = db;
    return DB_OK;
}

void disk_db_close(struct disk_db *db)
{
    if (!db)
        return;
    for (size_t i = 0; i < SQL_COUNT; i++)
        (void)sqlite3_finalize(db->statements[i]);
    (void)sqlite3_close(db->sqlite);
    free(db);
}

/* -- reading -- */

static enum disk_db_result found_row(sqlite3_stmt *st, struct disk_found *out)
{
    struct disk_found found = {
        sqlite3_column_int64(st, 0),
        sqlite3_column_int64(st, 1),
        sqlite3_column_int64(st, 2),
        NULL,
    };
    enum disk_db_result r = column_copy(st, 3, &found.blob);

    if (r == DB_OK)
        *out = found;
    return r;
}

enum disk_db_result disk_db_get(struct disk_db *db, const struct digest *key, struct disk_found *out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_GET, &st);

    if (r != DB_OK)
        return r;
    bind_bytes(st, 1, key->bytes, sizeof(key->bytes));
    r = step(db, st);
    return r == DB_OK ? found_row(st, out) : r;
}

enum disk_db_result disk_db_record(struct disk_db *db, int64_t n, struct blob **out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_RECORD, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, n);
    r = step(db, st);
    return r == DB_OK ? column_copy(st, 0, out) : r;
}

/* The narrowest way to all that may match. */
static enum disk_db_result walk_statement(struct disk_db *db, const struct selector *s, sqlite3_stmt **out)
{
    const struct {
        bool given;
        enum sql sql;
        struct slice text;
    } ways[] = {
        {s->id.len > 0, SQL_WALK_ID, s->id},
        {s->target != 0, SQL_WALK_TARGET, {NULL, 0}},
        {s->tag.len > 0, SQL_WALK_TAG, s->tag},
        {s->namespace_.len > 0, SQL_WALK_NAMESPACE, s->namespace_},
        {s->operation.len > 0, SQL_WALK_OPERATION, s->operation},
        {true, SQL_WALK_ALL, {NULL, 0}},
    };
    enum disk_db_result r;
    size_t i = 0;

    while (!ways[i].given)
        i++;
    r = statement(db, ways[i].sql, out);
    if (r == DB_OK && ways[i].sql == SQL_WALK_TARGET)
        bind_int(*out, 2, (int64_t)s->target);
    else if (r == DB_OK && ways[i].text.len > 0)
        bind_text(*out, 2, ways[i].text);
    return r;
}

static bool item_of_row(sqlite3_stmt *st, struct tier_item *out)
{
    struct slice key = column_bytes(st, 1);

    if (key.len != sizeof(out->label.key.bytes))
        return false;
    memcpy(out->label.key.bytes, key.data, key.len);
    out->label.id = column_text(st, 2);
    out->label.namespace_ = column_text(st, 3);
    out->label.operation = column_text(st, 4);
    out->label.model = column_text(st, 5);
    out->label.tags = column_text(st, 6);
    out->label.target = (uint64_t)sqlite3_column_int64(st, 7);
    out->label.created_ms = sqlite3_column_int64(st, 8);
    out->label.started_seq = sqlite3_column_int64(st, 9);
    out->gone_ms = sqlite3_column_int64(st, 10);
    out->label.family = sqlite3_column_int(st, 11) != 0;
    return true;
}

enum disk_db_result disk_db_walk(struct disk_db *db, const struct selector *which, struct disk_walk *walk,
                                 bool (*on_row)(void *arg, int64_t n, const struct tier_item *item),
                                 void *arg)
{
    STATEMENT st = NULL;
    enum disk_db_result r = walk_statement(db, which, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, walk->after);
    walk->at_end = false;
    for (size_t rows = 0;; rows++) {
        struct tier_item item;

        if (rows > 0 && (rows >= walk->rows_max || clock_mono_ns() >= walk->until_ns))
            return DB_OK;
        r = step(db, st);
        if (r == DB_ABSENT) {
            walk->at_end = true;
            return DB_OK;
        }
        if (r != DB_OK)
            return r;
        if (!item_of_row(st, &item))
            return DB_DAMAGED;
        walk->after = sqlite3_column_int64(st, 0);
        if (selector_matches(which, &item.label) && !on_row(arg, walk->after, &item))
            return DB_OK;
    }
}

enum disk_db_result disk_db_meta_get(struct disk_db *db, struct slice name, struct blob **out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_META_GET, &st);

    if (r != DB_OK)
        return r;
    bind_text(st, 1, name);
    r = step(db, st);
    return r == DB_OK ? column_copy(st, 0, out) : r;
}

/* -- writing -- */

enum disk_db_result disk_db_begin(struct disk_db *db, bool synced)
{
    STATEMENT st = NULL;
    enum disk_db_result r = DB_OK;

    if (synced != db->synced)
        r = execute(db, synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    if (r != DB_OK)
        return r;
    db->synced = synced;
    r = statement(db, SQL_BEGIN, &st);
    return r == DB_OK ? finish(db, st) : r;
}

static enum disk_db_result pulse(struct disk_db *db)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_PULSE, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, (int64_t)db->entries);
    return finish(db, st);
}

/*
 * Room in the file for all pages that the log will be copied to is made before the commit. So the log can
 * always be copied and begun anew, and what was begun to be removed can be removed, on a medium however full.
 */
static enum disk_db_result reserve_what_is_used(struct disk_db *db)
{
    struct disk_space space;
    enum disk_db_result r = disk_db_space(db, &space);

    return r == DB_OK ? disk_db_reserve(db, space.pages * space.page_bytes) : r;
}

enum disk_db_result disk_db_commit(struct disk_db *db)
{
    STATEMENT st = NULL;
    enum disk_db_result r = pulse(db);

    if (r == DB_OK)
        r = reserve_what_is_used(db);
    if (r == DB_OK)
        r = statement(db, SQL_COMMIT, &st);
    if (r == DB_OK)
        r = finish(db, st);
    if (r == DB_OK)
        db->entries_committed = db->entries;
    return r;
}

void disk_db_rollback(struct disk_db *db)
{
    if (!sqlite3_get_autocommit(db->sqlite)) /* SQLite itself undoes some that failed */
        (void)execute(db, "ROLLBACK");
    db->entries = db->entries_committed;
}

static enum disk_db_result each_tag(struct disk_db *db, enum sql sql, struct slice tags, int64_t n)
{
    enum disk_db_result r = DB_OK;

    while (r == DB_OK && tags.len > 0) {
        STATEMENT st = NULL;
        struct slice tag = slice_cut(&tags, ',');

        r = statement(db, sql, &st);
        if (r != DB_OK)
            return r;
        bind_text(st, 1, tag);
        bind_int(st, 2, n);
        r = finish(db, st);
    }
    return r;
}

static enum disk_db_result set_row(struct disk_db *db, enum sql sql, int64_t n, const struct tier_item *item,
                                   size_t bytes, int64_t used)
{
    const struct label *l = &item->label;
    char space[1024];
    struct buf name = {space, 0, sizeof(space), sizeof(space)};
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, sql, &st);

    if (r != DB_OK)
        return r;
    if (tier_name(&name, (struct slice){NULL, 0}, l) < 0)
        name.len = 0; /* longer than any name of ours */
    if (n)
        bind_int(st, 1, n); /* else NULL, for which SQLite takes the next one */
    bind_bytes(st, 2, l->key.bytes, sizeof(l->key.bytes));
    bind_text(st, 3, buf_slice(&name));
    bind_text(st, 4, l->namespace_);
    bind_text(st, 5, l->operation);
    bind_text(st, 6, l->model);
    bind_text(st, 7, l->id);
    bind_text(st, 8, l->tags);
    bind_int(st, 9, (int64_t)l->target);
    bind_int(st, 10, l->created_ms);
    bind_int(st, 11, item->gone_ms);
    bind_int(st, 12, l->started_seq);
    bind_int(st, 13, used);
    bind_int(st, 14, (int64_t)bytes);
    bind_int(st, 15, l->family);
    return finish(db, st);
}

static enum disk_db_result set_record(struct disk_db *db, enum sql sql, int64_t n, const struct blob *blob)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, sql, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, n);
    bind_bytes(st, 2, blob->bytes, blob->len);
    return finish(db, st);
}

struct old_row {
    int64_t n, seq;
};

/* The row of @key, and its tags dropped where they are not @tags. */
static enum disk_db_result find_old(struct disk_db *db, const struct tier_item *item, bool only_newer,
                                    struct old_row *out, bool *out_same_tags)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_FIND, &st);
    struct slice tags;

    if (r != DB_OK)
        return r;
    bind_bytes(st, 1, item->label.key.bytes, sizeof(item->label.key.bytes));
    r = step(db, st);
    if (r != DB_OK)
        return r;
    out->n = sqlite3_column_int64(st, 0);
    out->seq = sqlite3_column_int64(st, 1);
    if (only_newer && out->seq > item->label.started_seq)
        return DB_NEWER;
    tags = column_text(st, 2);
    *out_same_tags = slice_eq(tags, item->label.tags);
    return *out_same_tags ? DB_OK : each_tag(db, SQL_DELETE_TAG, tags, out->n);
}

enum disk_db_result disk_db_put(struct disk_db *db, const struct tier_item *item, const struct blob *blob,
                                bool only_newer, int64_t used, bool *out_replaced)
{
    struct old_row old = {0, 0};
    bool same_tags = false;
    enum disk_db_result r = find_old(db, item, only_newer, &old, &same_tags);
    bool is_new = r == DB_ABSENT;

    if (r != DB_OK && !is_new)
        return r;
    r = set_row(db, is_new ? SQL_INSERT : SQL_REPLACE, old.n, item, blob->len, used);
    if (r == DB_OK && is_new) {
        old.n = sqlite3_last_insert_rowid(db->sqlite);
        db->entries++;
    }
    if (r == DB_OK)
        r = set_record(db, is_new ? SQL_INSERT_RECORD : SQL_REPLACE_RECORD, old.n, blob);
    if (r == DB_OK && !same_tags)
        r = each_tag(db, SQL_INSERT_TAG, item->label.tags, old.n);
    if (r == DB_OK)
        *out_replaced = !is_new;
    return r;
}

static enum disk_db_result same_record(struct disk_db *db, int64_t n, const struct slice *only)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_RECORD, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, n);
    r = step(db, st);
    return r != DB_OK || slice_eq(column_bytes(st, 0), *only) ? r : DB_ABSENT;
}

enum disk_db_result disk_db_find(struct disk_db *db, const struct digest *key, const struct slice *only,
                                 int64_t *out_n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_FIND, &st);
    int64_t n;

    if (r != DB_OK)
        return r;
    bind_bytes(st, 1, key->bytes, sizeof(key->bytes));
    r = step(db, st);
    if (r != DB_OK)
        return r;
    n = sqlite3_column_int64(st, 0);
    if (only)
        r = same_record(db, n, only);
    if (r == DB_OK)
        *out_n = n;
    return r;
}

static enum disk_db_result by_row(struct disk_db *db, enum sql sql, int64_t n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, sql, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, n);
    return finish(db, st);
}

static enum disk_db_result delete_tags(struct disk_db *db, int64_t n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_TAGS_OF, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, n);
    r = step(db, st);
    return r == DB_OK ? each_tag(db, SQL_DELETE_TAG, column_text(st, 0), n) : r;
}

enum disk_db_result disk_db_delete(struct disk_db *db, int64_t n)
{
    enum disk_db_result r = delete_tags(db, n);

    if (r == DB_ABSENT)
        return DB_OK;
    if (r == DB_OK)
        r = by_row(db, SQL_DELETE_RECORD, n);
    if (r == DB_OK)
        r = by_row(db, SQL_DELETE, n);
    if (r == DB_OK && db->entries > 0)
        db->entries--;
    return r;
}

enum disk_db_result disk_db_touch(struct disk_db *db, int64_t n, int64_t was, int64_t used)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_TOUCH, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, n);
    bind_int(st, 2, was);
    bind_int(st, 3, used);
    return finish(db, st);
}

static enum disk_db_result meta_has_room(struct disk_db *db, struct slice name)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_META_COUNT, &st);

    if (r != DB_OK)
        return r;
    bind_text(st, 1, name);
    r = step(db, st);
    return r == DB_OK && sqlite3_column_int64(st, 0) >= DISK_META_VALUES_MAX ? DB_REFUSED : r;
}

enum disk_db_result disk_db_meta_put(struct disk_db *db, struct slice name, struct slice value)
{
    STATEMENT st = NULL;
    enum disk_db_result r = meta_has_room(db, name);

    if (r == DB_OK)
        r = statement(db, SQL_META_PUT, &st);
    if (r != DB_OK)
        return r;
    bind_text(st, 1, name);
    bind_bytes(st, 2, value.data, value.len);
    return finish(db, st);
}

/* -- keeping house -- */

static enum disk_db_result gather_rows(struct disk_db *db, sqlite3_stmt *st, int64_t *rows, size_t max,
                                       size_t *out_n)
{
    enum disk_db_result r = DB_OK;
    size_t n = 0;

    while (n < max && (r = step(db, st)) == DB_OK)
        rows[n++] = sqlite3_column_int64(st, 0);
    if (r != DB_OK && r != DB_ABSENT)
        return r;
    *out_n = n;
    return DB_OK;
}

enum disk_db_result disk_db_expired(struct disk_db *db, int64_t now_ms, int64_t *rows, size_t max,
                                    size_t *out_n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_EXPIRED, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, now_ms);
    bind_int(st, 2, (int64_t)max);
    return gather_rows(db, st, rows, max, out_n);
}

enum disk_db_result disk_db_oldest(struct disk_db *db, int64_t *rows, size_t max, size_t *out_n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_OLDEST, &st);

    if (r != DB_OK)
        return r;
    bind_int(st, 1, (int64_t)max);
    return gather_rows(db, st, rows, max, out_n);
}

enum disk_db_result disk_db_used_range(struct disk_db *db, int64_t *out_oldest, int64_t *out_newest)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, SQL_USED_RANGE, &st);

    if (r == DB_OK)
        r = step(db, st);
    if (r != DB_OK)
        return r;
    *out_oldest = sqlite3_column_int64(st, 0);
    *out_newest = sqlite3_column_int64(st, 1);
    return DB_OK;
}

static enum disk_db_result ask_number(struct disk_db *db, enum sql sql, uint64_t *out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = statement(db, sql, &st);

    if (r == DB_OK)
        r = step(db, st);
    if (r == DB_OK)
        *out = (uint64_t)sqlite3_column_int64(st, 0);
    return r;
}

enum disk_db_result disk_db_space(struct disk_db *db, struct disk_space *out)
{
    struct disk_space space = {.page_bytes = db->page_bytes};
    enum disk_db_result r = ask_number(db, SQL_PAGES, &space.pages);

    if (r == DB_OK)
        r = ask_number(db, SQL_PAGES_FREE, &space.pages_free);
    if (r == DB_OK)
        *out = space;
    return r;
}

void disk_db_limit(struct disk_db *db, uint64_t pages)
{
    AUTO(buf_done) struct buf text = BUF_INIT(128);

    if (buf_addf(&text, "PRAGMA max_page_count = %llu%c", (unsigned long long)pages, 0) == 0)
        (void)execute(db, text.data);
}

enum disk_db_result disk_db_reserve(struct disk_db *db, uint64_t bytes)
{
    sqlite3_int64 wanted = (sqlite3_int64)bytes;
    enum disk_db_result r;

    errno = 0;
    r = judge(db->sqlite, sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_SIZE_HINT, &wanted));
    return r == DB_TROUBLE && judge_errno(errno) == DB_FULL ? DB_FULL : r;
}

uint64_t disk_db_entries(const struct disk_db *db)
{
    return db->entries_committed;
}

struct disk_log disk_db_log(const struct disk_db *db)
{
    return db->log;
}

enum disk_db_result disk_db_checkpoint(struct disk_db *db, enum disk_checkpoint how)
{
    static const int modes[] = {
        [CHECKPOINT_STEP] = SQLITE_CHECKPOINT_PASSIVE,
        [CHECKPOINT_ALL] = SQLITE_CHECKPOINT_RESTART,
        [CHECKPOINT_LAST] = SQLITE_CHECKPOINT_TRUNCATE,
    };
    int frames = 0, copied = 0;
    enum disk_db_result r =
        judge(db->sqlite, sqlite3_wal_checkpoint_v2(db->sqlite, "main", modes[how], &frames, &copied));

    if (r == DB_OK && frames >= 0 && copied >= 0)
        db->log = (struct disk_log){(uint64_t)frames, (uint64_t)copied};
    return r;
}

enum disk_db_result disk_db_vacuum(struct disk_db *db, unsigned pages)
{
    AUTO(buf_done) struct buf text = BUF_INIT(128);

    if (buf_addf(&text, "PRAGMA incremental_vacuum(%u)%c", pages, 0) < 0)
        return DB_TROUBLE;
    return execute(db, text.data);
}
