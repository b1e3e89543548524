/*
 * store_disk_schema - whose file is it? Ours, of which version, which one of all; or a new one, which is
 * made. Two numbers in SQLite's header tell the first two, the row `file` the third. docs/disk.md has the
 * schema.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "store_disk_db.h"
#include "store_disk_sql.h"

enum { DISK_FILE_ID_BYTES = 16 };

struct disk_file_row {
    uint8_t id[DISK_FILE_ID_BYTES]; /* by chance: no two files have the same */
    uint64_t entries;               /* as of the last commit */
};

/** Reads @out. Where the file is nobody's yet, it is made one of ours, if @make; else it is DB_DAMAGED. */
enum disk_db_result disk_schema_open(struct sql *s, bool make, struct disk_file_row *out);
/** What the file says of itself, whatever else it is; DB_DAMAGED where it says nothing. */
enum disk_db_result disk_schema_file(struct sql *s, struct disk_file_row *out);
