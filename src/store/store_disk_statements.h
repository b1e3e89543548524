/*
 * store_disk_statements - all SQL of the disk tier: its tables, and each statement by its name. Whoever adds
 * a column finds here what else must know it; docs/disk.md tells what the columns mean.
 *
 * Two tables hold an entry: `entries` what is known of it, in a few hundred bytes, and `records` its bytes.
 * So a walk over all entries reads a tenth of the file or less, and the pages of records are filled one after
 * the other. `file` is one row that every commit writes: its page is in every log, and so tells whose log it
 * is.
 */
#pragma once

#define DISK_SCHEMA                                                                                          \
    "CREATE TABLE file(one INTEGER PRIMARY KEY CHECK(one = 1), id BLOB NOT NULL, made INTEGER NOT "          \
    "NULL, commits INTEGER NOT NULL, entries INTEGER NOT NULL);"                                             \
    "CREATE TABLE entries(n INTEGER PRIMARY KEY, key BLOB NOT NULL, name TEXT NOT NULL, namespace "          \
    "TEXT NOT NULL, operation TEXT NOT NULL, model TEXT NOT NULL, id TEXT NOT NULL, tags TEXT NOT "          \
    "NULL, target INTEGER NOT NULL, family INTEGER NOT NULL, created INTEGER NOT NULL, gone "                \
    "INTEGER NOT NULL, seq INTEGER NOT NULL, used INTEGER NOT NULL, bytes INTEGER NOT NULL);"                \
    "CREATE UNIQUE INDEX entries_key ON entries(key);"                                                       \
    "CREATE INDEX entries_gone ON entries(gone);"                                                            \
    "CREATE INDEX entries_used ON entries(used);"                                                            \
    "CREATE INDEX entries_id ON entries(id);"                                                                \
    "CREATE INDEX entries_namespace ON entries(namespace);"                                                  \
    "CREATE INDEX entries_operation ON entries(operation);"                                                  \
    "CREATE INDEX entries_target ON entries(target) WHERE target <> 0;"                                      \
    "CREATE TABLE records(n INTEGER PRIMARY KEY, record BLOB NOT NULL);"                                     \
    "CREATE TABLE tags(tag TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY(tag, n)) WITHOUT ROWID;"           \
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"

#define LABEL_COLUMNS                                                                                        \
    "e.n, e.key, e.id, e.namespace, e.operation, e.model, e.tags, e.target, e.created, e.seq, e.gone, "      \
    "e.family"

/* One row a statement: prepared when first used, kept as long as the connection. */
#define DISK_STATEMENTS(X)                                                                                   \
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
    X(PAGES_FREE, "PRAGMA freelist_count")                                                                   \
    X(PAGE_BYTES, "PRAGMA page_size")                                                                        \
    X(TABLES, "SELECT count(*) FROM sqlite_schema")                                                          \
    X(APPLICATION, "PRAGMA application_id")                                                                  \
    X(VERSION, "PRAGMA user_version")                                                                        \
    X(FILE_ROW, "SELECT id, entries FROM file")                                                              \
    X(MAKE_FILE_ROW, "INSERT INTO file VALUES(1, ?1, ?2, 0, 0)")

#define STATEMENT_X(id, text) SQL_##id,
enum sql_id { DISK_STATEMENTS(STATEMENT_X) SQL_COUNT };
#undef STATEMENT_X
