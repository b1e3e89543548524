/* disk_fixture - a disk tier in a directory of its own, asked one question at a time, for tests and benches.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/loop.h"
#include "refrain/store/store_disk.h"

struct disk_fixture {
    char dir[128], path[192];
    struct store_disk_conf conf;
    struct loop *loop;
    struct tier *tier;
    struct tier_port *port;
    atomic_uint notices[3]; /* by kind */
    uint64_t matched;       /* keys that on_match was told */
    uint64_t items;         /* of scans */
    struct digest last_key;
};

/* What is put: a key from a number, and labels; strings that are NULL have a value of their own. */
struct disk_case {
    unsigned n;
    const char *id, *namespace_, *operation, *model, *tags;
    uint64_t target;
    int64_t created_ms, seq, gone_ms; /* gone 0: never */
    size_t bytes;                     /* of the record; its filling follows from n and seq */
    bool only_newer, family;
};

struct digest disk_key(unsigned n);
struct blob *disk_record(unsigned n, int64_t seq, size_t bytes);
int64_t disk_record_seq(const struct blob *b);
/** Whether @b is what disk_record made of @n, whatever the seq and length: what is torn is not. */
bool disk_record_is_whole(const struct blob *b, unsigned n);

/** A new directory below /tmp, and sizes; the tier is not there yet. */
void disk_fixture_init(struct disk_fixture *f);
/** The tier and a port; waits until it is no longer opening. */
void disk_fixture_start(struct disk_fixture *f);
void disk_fixture_stop(struct disk_fixture *f);
/** Stops, and removes the directory. */
void disk_fixture_done(struct disk_fixture *f);
/** Runs the loop until *@flag, or aborts after a minute. */
void disk_fixture_run(struct disk_fixture *f, const bool *flag);
/** Waits until its health is @health, and why begins with @why. */
void disk_fixture_wait(struct disk_fixture *f, enum tier_health health, const char *why);
/** Waits until @holds. */
void disk_fixture_until(struct disk_fixture *f, bool (*holds)(struct disk_fixture *f));

enum tier_result disk_fixture_put(struct disk_fixture *f, const struct disk_case *c);
enum tier_result disk_fixture_put_n(struct disk_fixture *f, unsigned n);
/** @out may be NULL; else the caller's. */
enum tier_result disk_fixture_get(struct disk_fixture *f, unsigned n, struct blob **out);
enum tier_result disk_fixture_remove(struct disk_fixture *f, unsigned n, const struct blob *only);
enum tier_result disk_fixture_delete_if(struct disk_fixture *f, const struct selector *which, bool dry_run,
                                        uint64_t *out);
/** All pages. */
enum tier_result disk_fixture_scan(struct disk_fixture *f, const struct selector *which, bool blobs,
                                   size_t page_max);
enum tier_result disk_fixture_meta_put(struct disk_fixture *f, const char *name, const char *value);
enum tier_result disk_fixture_meta_get(struct disk_fixture *f, const char *name, struct blob **out);
struct tier_stats disk_fixture_stats(struct disk_fixture *f);
