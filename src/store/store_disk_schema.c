#include "store_disk_schema.h"

#include <string.h>

#include "refrain/base/clock.h"
#include "refrain/base/digest.h"

enum { APPLICATION_ID = 0x5266726e, SCHEMA_VERSION = 1 }; /* "Rfrn" */

enum disk_db_result disk_schema_file(struct sql *s, struct disk_file_row *out)
{
    STATEMENT st = NULL;
    enum disk_db_result r = sql_ask(s, SQL_FILE_ROW, NULL, 0, &st);
    struct slice id;

    if (r != DB_OK)
        return r == DB_ABSENT ? DB_DAMAGED : r;
    id = sql_column_bytes(st, 0);
    if (id.len != DISK_FILE_ID_BYTES)
        return DB_DAMAGED;
    memcpy(out->id, id.data, DISK_FILE_ID_BYTES);
    out->entries = (uint64_t)sql_column_int(st, 1);
    return DB_OK;
}

static enum disk_db_result make(struct sql *s)
{
    uint8_t id[DISK_FILE_ID_BYTES];
    enum disk_db_result r;

    random_bytes(id, sizeof(id));
    r = sql_execute(s, "BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %d",
                    DISK_SCHEMA, APPLICATION_ID, SCHEMA_VERSION);
    if (r == DB_OK)
        r = SQL_RUN(s, SQL_MAKE_FILE_ROW, sql_bytes(id, sizeof(id)), sql_int(clock_wall_ms()));
    if (r == DB_OK)
        r = sql_run(s, SQL_COMMIT, NULL, 0);
    /* Into the file at once: by the row `file` there, a log of another file is told apart. */
    return r == DB_OK ? sql_checkpoint(s, CHECKPOINT_ALL) : r;
}

/* DB_OK: ours; DB_ABSENT: nobody's yet. */
static enum disk_db_result judge_schema(struct sql *s)
{
    int64_t tables = 0, application = 0, version = 0;
    enum disk_db_result r = sql_ask_int(s, SQL_TABLES, &tables);

    if (r == DB_OK)
        r = sql_ask_int(s, SQL_APPLICATION, &application);
    if (r == DB_OK)
        r = sql_ask_int(s, SQL_VERSION, &version);
    if (r != DB_OK)
        return r;
    if (tables == 0 && application == 0)
        return DB_ABSENT;
    if (application != APPLICATION_ID)
        return DB_STRANGER;
    if (version > SCHEMA_VERSION)
        return DB_FUTURE;
    return version == SCHEMA_VERSION ? DB_OK : DB_DAMAGED;
}

enum disk_db_result disk_schema_open(struct sql *s, bool make_it, struct disk_file_row *out)
{
    enum disk_db_result r = judge_schema(s);

    if (r == DB_ABSENT)
        r = make_it ? make(s) : DB_DAMAGED;
    return r == DB_OK ? disk_schema_file(s, out) : r;
}
