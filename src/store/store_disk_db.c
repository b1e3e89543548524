#include "store_disk_db.h"

#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"
#include "refrain/store/store_disk.h"
#include "store_disk_schema.h"
#include "store_disk_sql.h"

enum { PAGE_BYTES = 8192 };
enum { WRITER_CACHE_KIB = 8192, READER_CACHE_KIB = 1024 };

struct disk_db {
    struct sql sql;
    uint64_t page_bytes;
    uint64_t entries, entries_committed;
    bool synced; /* as the connection stands now */
};

int disk_db_errno(const struct disk_db *db)
{
    return db ? sql_errno(&db->sql) : 0;
}

/* -- opening -- */

/* Page size and vacuum mode count for a file that is made now. secure_delete is on in some builds and would
 * write every page of what is dropped. */
static enum disk_db_result set_up_writer(struct disk_db *db, const struct disk_db_conf *conf)
{
    sql_grow_by(&db->sql, conf->chunk_bytes);
    return sql_execute(&db->sql,
                       "PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
                       "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = FAST;"
                       "PRAGMA journal_size_limit = %lld; PRAGMA cache_size = -%d",
                       PAGE_BYTES, (long long)conf->log_bytes_keep, WRITER_CACHE_KIB);
}

static enum disk_db_result set_up_reader(struct disk_db *db)
{
    return sql_execute(&db->sql, "PRAGMA query_only = ON; PRAGMA cache_size = -%d", READER_CACHE_KIB);
}

/*
 * What the file itself says it is, its log left aside. A file that cannot be read so (it was never written,
 * or is in the middle of being copied to) says nothing.
 */
static bool file_without_log(const char *path, struct disk_file_row *out)
{
    struct sql s;
    bool known = sql_open(&s, path, DB_FROZEN) == DB_OK && disk_schema_file(&s, out) == DB_OK;

    sql_close(&s);
    return known;
}

static enum disk_db_result open_as(struct disk_db *db, const struct disk_db_conf *conf)
{
    const bool writes = conf->mode == DB_WRITER;
    struct disk_file_row file, bare;
    bool known = writes && conf->alone && file_without_log(conf->path, &bare);
    int64_t page_bytes = 0;
    enum disk_db_result r = sql_open(&db->sql, conf->path, conf->mode);

    if (r == DB_OK)
        r = writes ? set_up_writer(db, conf) : set_up_reader(db);
    if (r == DB_OK)
        r = disk_schema_open(&db->sql, writes, &file);
    if (r == DB_OK)
        r = sql_ask_int(&db->sql, SQL_PAGE_BYTES, &page_bytes);
    if (r != DB_OK)
        return r;
    if (known && memcmp(bare.id, file.id, sizeof(file.id)) != 0)
        return DB_DAMAGED; /* the log is another file's */
    db->entries = db->entries_committed = file.entries;
    db->page_bytes = (uint64_t)page_bytes;
    return DB_OK;
}

enum disk_db_result disk_db_open(const struct disk_db_conf *conf, struct disk_db **out, int *out_error)
{
    struct disk_db *db = calloc(1, sizeof(*db));
    enum disk_db_result r;

    *out_error = 0;
    if (!db)
        return DB_TROUBLE;
    r = open_as(db, conf);
    if (r != DB_OK) {
        *out_error = sql_errno(&db->sql);
        disk_db_close(db);
        return r;
    }
    *out = db;
    return DB_OK;
}

void disk_db_close(struct disk_db *db)
{
    if (!db)
        return;
    sql_close(&db->sql);
    free(db);
}

/* -- reading -- */

static struct sql_value of_key(const struct digest *key)
{
    return sql_bytes(key->bytes, sizeof(key->bytes));
}

static enum disk_db_result column_copy(struct sqlite3_stmt *st, int at, struct blob **out)
{
    struct slice bytes = sql_column_bytes(st, at);
    struct blob *b = blob_new(bytes.len);

    if (!b)
        return DB_TROUBLE;
    if (bytes.len > 0)
        memcpy(b->bytes, bytes.data, bytes.len);
    *out = b;
    return DB_OK;
}

enum disk_db_result disk_db_get(struct disk_db *db, const struct digest *key, struct disk_found *out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_GET, &st, of_key(key));
    struct disk_found found;

    if (r != DB_OK)
        return r;
    found = (struct disk_found){sql_column_int(st, 0), sql_column_int(st, 1), sql_column_int(st, 2), NULL};
    r = column_copy(st, 3, &found.blob);
    if (r == DB_OK)
        *out = found;
    return r;
}

enum disk_db_result disk_db_record(struct disk_db *db, int64_t n, struct blob **out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_RECORD, &st, sql_int(n));

    return r == DB_OK ? column_copy(st, 0, out) : r;
}

/* The narrowest way to all that may match, at its first row behind @after. */
static enum disk_db_result walk_begin(struct disk_db *db, const struct selector *s, int64_t after,
                                      struct sqlite3_stmt **out)
{
    const struct {
        bool given;
        enum sql_id id;
        struct sql_value value;
    } ways[] = {
        {s->id.len > 0, SQL_WALK_ID, sql_text(s->id)},
        {s->target != 0, SQL_WALK_TARGET, sql_int((int64_t)s->target)},
        {s->tag.len > 0, SQL_WALK_TAG, sql_text(s->tag)},
        {s->namespace_.len > 0, SQL_WALK_NAMESPACE, sql_text(s->namespace_)},
        {s->operation.len > 0, SQL_WALK_OPERATION, sql_text(s->operation)},
        {true, SQL_WALK_ALL, {.is = SQL_IS_NULL}},
    };
    size_t i = 0;

    while (!ways[i].given)
        i++;
    return SQL_ASK(&db->sql, ways[i].id, out, sql_int(after), ways[i].value);
}

static bool item_of_row(struct sqlite3_stmt *st, struct tier_item *out)
{
    struct slice key = sql_column_bytes(st, 1);

    if (key.len != sizeof(out->label.key.bytes))
        return false;
    memcpy(out->label.key.bytes, key.data, key.len);
    out->label.id = sql_column_text(st, 2);
    out->label.namespace_ = sql_column_text(st, 3);
    out->label.operation = sql_column_text(st, 4);
    out->label.model = sql_column_text(st, 5);
    out->label.tags = sql_column_text(st, 6);
    out->label.target = (uint64_t)sql_column_int(st, 7);
    out->label.created_ms = sql_column_int(st, 8);
    out->label.started_seq = sql_column_int(st, 9);
    out->gone_ms = sql_column_int(st, 10);
    out->label.family = sql_column_int(st, 11) != 0;
    return true;
}

enum disk_db_result disk_db_walk(struct disk_db *db, const struct selector *which, struct disk_walk *walk,
                                 bool (*on_row)(void *arg, int64_t n, const struct tier_item *item),
                                 void *arg)
{
    STATEMENT st = NULL;
    enum disk_db_result r = walk_begin(db, which, walk->after, &st);

    walk->at_end = false;
    for (size_t rows = 1; r == DB_OK; rows++) {
        struct tier_item item;

        if (!item_of_row(st, &item))
            return DB_DAMAGED;
        walk->after = sql_column_int(st, 0);
        if (selector_matches(which, &item.label) && !on_row(arg, walk->after, &item))
            return DB_OK;
        if (rows >= walk->rows_max || clock_mono_ns() >= walk->until_ns)
            return DB_OK;
        r = sql_next(&db->sql, st);
    }
    walk->at_end = r == DB_ABSENT;
    return walk->at_end ? DB_OK : r;
}

enum disk_db_result disk_db_meta_get(struct disk_db *db, struct slice name, struct blob **out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_META_GET, &st, sql_text(name));

    return r == DB_OK ? column_copy(st, 0, out) : r;
}

/* -- writing -- */

enum disk_db_result disk_db_begin(struct disk_db *db, bool synced)
{
    enum disk_db_result r = DB_OK;

    if (synced != db->synced)
        r = sql_execute(&db->sql, "PRAGMA synchronous = %s", synced ? "FULL" : "NORMAL");
    if (r != DB_OK)
        return r;
    db->synced = synced;
    return sql_run(&db->sql, SQL_BEGIN, NULL, 0);
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
    enum disk_db_result r = SQL_RUN(&db->sql, SQL_PULSE, sql_int((int64_t)db->entries));

    if (r == DB_OK)
        r = reserve_what_is_used(db);
    if (r == DB_OK)
        r = sql_run(&db->sql, SQL_COMMIT, NULL, 0);
    if (r == DB_OK)
        db->entries_committed = db->entries;
    return r;
}

void disk_db_rollback(struct disk_db *db)
{
    sql_rollback(&db->sql);
    db->entries = db->entries_committed;
}

static enum disk_db_result each_tag(struct disk_db *db, enum sql_id id, struct slice tags, int64_t n)
{
    enum disk_db_result r = DB_OK;

    while (r == DB_OK && tags.len > 0)
        r = SQL_RUN(&db->sql, id, sql_text(slice_cut(&tags, ',')), sql_int(n));
    return r;
}

/* @n: 0 for SQL_INSERT, which takes the next one. */
static enum disk_db_result set_row(struct disk_db *db, enum sql_id id, int64_t n,
                                   const struct tier_item *item, size_t bytes, int64_t used)
{
    const struct label *l = &item->label;
    char space[1024];
    struct buf name = {space, 0, sizeof(space), sizeof(space)};

    if (tier_name(&name, (struct slice){NULL, 0}, l) < 0)
        name.len = 0; /* longer than any name of ours */
    return SQL_RUN(&db->sql, id, n ? sql_int(n) : (struct sql_value){.is = SQL_IS_NULL}, of_key(&l->key),
                   sql_text(buf_slice(&name)), sql_text(l->namespace_), sql_text(l->operation),
                   sql_text(l->model), sql_text(l->id), sql_text(l->tags), sql_int((int64_t)l->target),
                   sql_int(l->created_ms), sql_int(item->gone_ms), sql_int(l->started_seq), sql_int(used),
                   sql_int((int64_t)bytes), sql_int(l->family));
}

struct old_row {
    int64_t n, seq;
};

/* The row of @key, and its tags dropped where they are not @tags. */
static enum disk_db_result find_old(struct disk_db *db, const struct tier_item *item, bool only_newer,
                                    struct old_row *out, bool *out_same_tags)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_FIND, &st, of_key(&item->label.key));
    struct slice tags;

    if (r != DB_OK)
        return r;
    out->n = sql_column_int(st, 0);
    out->seq = sql_column_int(st, 1);
    if (only_newer && out->seq > item->label.started_seq)
        return DB_NEWER;
    tags = sql_column_text(st, 2);
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
        old.n = sql_inserted(&db->sql);
        db->entries++;
    }
    if (r == DB_OK)
        r = SQL_RUN(&db->sql, is_new ? SQL_INSERT_RECORD : SQL_REPLACE_RECORD, sql_int(old.n),
                    sql_bytes(blob->bytes, blob->len));
    if (r == DB_OK && !same_tags)
        r = each_tag(db, SQL_INSERT_TAG, item->label.tags, old.n);
    if (r == DB_OK)
        *out_replaced = !is_new;
    return r;
}

static enum disk_db_result same_record(struct disk_db *db, int64_t n, const struct slice *only)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_RECORD, &st, sql_int(n));

    return r != DB_OK || slice_eq(sql_column_bytes(st, 0), *only) ? r : DB_ABSENT;
}

enum disk_db_result disk_db_find(struct disk_db *db, const struct digest *key, const struct slice *only,
                                 int64_t *out_n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_FIND, &st, of_key(key));
    int64_t n;

    if (r != DB_OK)
        return r;
    n = sql_column_int(st, 0);
    if (only)
        r = same_record(db, n, only);
    if (r == DB_OK)
        *out_n = n;
    return r;
}

static enum disk_db_result delete_tags(struct disk_db *db, int64_t n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_TAGS_OF, &st, sql_int(n));

    return r == DB_OK ? each_tag(db, SQL_DELETE_TAG, sql_column_text(st, 0), n) : r;
}

enum disk_db_result disk_db_delete(struct disk_db *db, int64_t n)
{
    enum disk_db_result r = delete_tags(db, n);

    if (r == DB_ABSENT)
        return DB_OK;
    if (r == DB_OK)
        r = SQL_RUN(&db->sql, SQL_DELETE_RECORD, sql_int(n));
    if (r == DB_OK)
        r = SQL_RUN(&db->sql, SQL_DELETE, sql_int(n));
    if (r == DB_OK && db->entries > 0)
        db->entries--;
    return r;
}

enum disk_db_result disk_db_touch(struct disk_db *db, int64_t n, int64_t was, int64_t used)
{
    return SQL_RUN(&db->sql, SQL_TOUCH, sql_int(n), sql_int(was), sql_int(used));
}

static enum disk_db_result meta_has_room(struct disk_db *db, struct slice name)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_META_COUNT, &st, sql_text(name));

    return r == DB_OK && sql_column_int(st, 0) >= DISK_META_VALUES_MAX ? DB_REFUSED : r;
}

enum disk_db_result disk_db_meta_put(struct disk_db *db, struct slice name, struct slice value)
{
    enum disk_db_result r = meta_has_room(db, name);

    return r == DB_OK ? SQL_RUN(&db->sql, SQL_META_PUT, sql_text(name), sql_bytes(value.data, value.len)) : r;
}

/* -- keeping house -- */

/* Of @max rows at most, as the statement itself has been told; @r is what it said to the first. */
static enum disk_db_result gather_rows(struct disk_db *db, struct sqlite3_stmt *st, enum disk_db_result r,
                                       int64_t *rows, size_t max, size_t *out_n)
{
    size_t n = 0;

    while (r == DB_OK && n < max) {
        rows[n++] = sql_column_int(st, 0);
        if (n < max)
            r = sql_next(&db->sql, st);
    }
    if (r != DB_OK && r != DB_ABSENT)
        return r;
    *out_n = n;
    return DB_OK;
}

enum disk_db_result disk_db_expired(struct disk_db *db, int64_t now_ms, int64_t *rows, size_t max,
                                    size_t *out_n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_EXPIRED, &st, sql_int(now_ms), sql_int((int64_t)max));

    return gather_rows(db, st, r, rows, max, out_n);
}

enum disk_db_result disk_db_oldest(struct disk_db *db, int64_t *rows, size_t max, size_t *out_n)
{
    STATEMENT st = NULL;
    enum disk_db_result r = SQL_ASK(&db->sql, SQL_OLDEST, &st, sql_int((int64_t)max));

    return gather_rows(db, st, r, rows, max, out_n);
}

enum disk_db_result disk_db_used_range(struct disk_db *db, int64_t *out_oldest, int64_t *out_newest)
{
    STATEMENT st = NULL;
    enum disk_db_result r = sql_ask(&db->sql, SQL_USED_RANGE, NULL, 0, &st);

    if (r != DB_OK)
        return r;
    *out_oldest = sql_column_int(st, 0);
    *out_newest = sql_column_int(st, 1);
    return DB_OK;
}

enum disk_db_result disk_db_space(struct disk_db *db, struct disk_space *out)
{
    int64_t pages = 0, pages_free = 0;
    enum disk_db_result r = sql_ask_int(&db->sql, SQL_PAGES, &pages);

    if (r == DB_OK)
        r = sql_ask_int(&db->sql, SQL_PAGES_FREE, &pages_free);
    if (r == DB_OK)
        *out = (struct disk_space){db->page_bytes, (uint64_t)pages, (uint64_t)pages_free};
    return r;
}

void disk_db_limit(struct disk_db *db, uint64_t pages)
{
    (void)sql_execute(&db->sql, "PRAGMA max_page_count = %llu", (unsigned long long)pages);
}

enum disk_db_result disk_db_reserve(struct disk_db *db, uint64_t bytes)
{
    return sql_reserve(&db->sql, bytes);
}

uint64_t disk_db_entries(const struct disk_db *db)
{
    return db->entries_committed;
}

struct disk_log disk_db_log(const struct disk_db *db)
{
    return db->sql.log;
}

enum disk_db_result disk_db_checkpoint(struct disk_db *db, enum disk_checkpoint how)
{
    return sql_checkpoint(&db->sql, how);
}

enum disk_db_result disk_db_vacuum(struct disk_db *db, unsigned pages)
{
    return sql_execute(&db->sql, "PRAGMA incremental_vacuum(%u)", pages);
}
