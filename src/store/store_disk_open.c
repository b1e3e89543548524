#include <errno.h>
#include <string.h>

#include "refrain/base/clock.h"
#include "store_disk_priv.h"

/* How long until the file is tried again: while another process has it; after trouble, doubled each time. */
enum { LOCKED_RETRY_MS = 200, RETRY_MS = 250, RETRY_MAX_MS = 15000, FROZEN_RETRY_MS = 1000 };

static const char why_removals[] = "removals are made first";

static void tell(struct disk *d, const struct disk_notice *notice)
{
    if (d->conf.on_notice)
        d->conf.on_notice(d->conf.arg, notice);
}

void disk_say(struct disk_writer *w, enum disk_phase phase, enum tier_health health, const char *why,
              int error)
{
    struct disk *d = w->disk;
    bool is_new;

    pthread_mutex_lock(&d->lock);
    d->phase = phase;
    is_new = d->state.health != health || strcmp(d->state.why, why) != 0;
    if (is_new)
        d->state = (struct tier_state){health, why, clock_mono_ms()};
    pthread_cond_broadcast(&d->for_readers);
    pthread_mutex_unlock(&d->lock);
    if (is_new)
        tell(d, &(struct disk_notice){DISK_NOTICE_STATE, health, why, d->path, NULL, error});
}

static void retry_in(struct disk_writer *w, int64_t ms)
{
    w->retry_ns = clock_mono_ns() + ms * 1000000;
}

static void back_off(struct disk_writer *w)
{
    w->retry_wait_ms = w->retry_wait_ms ? w->retry_wait_ms * 2 : RETRY_MS;
    if (w->retry_wait_ms > RETRY_MAX_MS)
        w->retry_wait_ms = RETRY_MAX_MS;
    retry_in(w, w->retry_wait_ms);
}

static void down(struct disk_writer *w, const char *why, int error)
{
    back_off(w);
    disk_say(w, PHASE_DOWN, TIER_IS_DOWN, why, error);
}

void disk_reopen(struct disk_writer *w, enum disk_reopen how, const char *why)
{
    struct disk *d = w->disk;

    disk_db_close(w->db);
    w->db = NULL;
    if (how >= w->reopen) {
        w->reopen = how;
        w->reopen_why = why;
    }
    w->retry_ns = 0;
    pthread_mutex_lock(&d->lock);
    d->phase = PHASE_OPENING;
    d->generation++;
    d->touches_n = 0;
    pthread_cond_broadcast(&d->for_readers);
    pthread_mutex_unlock(&d->lock);
}

void disk_rest(struct disk_writer *w)
{
    int error = disk_db_errno(w->db);

    disk_reopen(w, REOPEN_PLAIN, NULL);
    down(w, "input/output error", error);
}

bool disk_file_is_ours(const struct disk_writer *w)
{
    struct disk_file file;

    disk_file_look(w->disk->path, &file);
    return file.kind == DISK_FILE_REGULAR && file.inode == w->file.inode && file.device == w->file.device &&
           file.has_log;
}

enum disk_db_mode disk_frozen_mode(const char *path)
{
    struct disk_file file;

    disk_file_look(path, &file);
    return file.log_bytes > 0 ? DB_FROZEN_WITH_LOG : DB_FROZEN;
}

/* -- out of the way -- */

static void count_aside(struct disk_writer *w, const char *to)
{
    struct disk *d = w->disk;

    pthread_mutex_lock(&d->lock);
    d->stats.set_aside++;
    d->removals = d->removals == REMOVALS_LOST ? REMOVALS_MADE : d->removals; /* with all else */
    pthread_mutex_unlock(&d->lock);
    tell(d, &(struct disk_notice){DISK_NOTICE_SET_ASIDE, TIER_DEGRADED, w->reopen_why, d->path, to, 0});
}

static int put_away(struct disk_writer *w, enum disk_reopen how, const char *why)
{
    char to[DISK_PATH_MAX];
    int r = how == REOPEN_ASIDE ? disk_file_set_aside(w->disk->path, clock_wall_ms(), to)
                                : disk_file_remove(w->disk->path);

    if (r < 0 && r != -ENOENT)
        return r;
    w->reopen_why = why;
    count_aside(w, how == REOPEN_ASIDE && r == 0 ? to : NULL);
    w->reopen = REOPEN_PLAIN;
    return 0;
}

/* -- opening -- */

static bool have_lock(struct disk_writer *w)
{
    int r = w->lock_fd >= 0 ? 0 : disk_file_lock(w->disk->path, &w->lock_fd);

    if (r == 0)
        return true;
    if (r == -EWOULDBLOCK) {
        retry_in(w, LOCKED_RETRY_MS);
        disk_say(w, PHASE_DOWN, TIER_IS_DOWN, "in use by another process", 0);
    } else if (r == -ENOENT) {
        down(w, "no such directory", -r);
    } else if (r == -ENOSPC || r == -EDQUOT) {
        down(w, "disk full", -r);
    } else if (r == -EROFS || r == -EACCES) {
        down(w, "read-only, and nothing to be read", -r);
    } else {
        down(w, "its lock cannot be taken", -r);
    }
    return false;
}

static enum disk_removals removals(struct disk *d)
{
    enum disk_removals is;

    pthread_mutex_lock(&d->lock);
    is = d->removals;
    pthread_mutex_unlock(&d->lock);
    return is;
}

static bool is_frozen(struct disk *d)
{
    bool frozen;

    pthread_mutex_lock(&d->lock);
    frozen = d->phase == PHASE_FROZEN;
    pthread_mutex_unlock(&d->lock);
    return frozen;
}

/* Readers that read a frozen file hold no locks on it, so that nobody may write it before they have closed
 * it. */
static void thaw(struct disk_writer *w)
{
    if (disk_file_is_writable(w->disk->path)) {
        disk_reopen(w, REOPEN_PLAIN, NULL);
        return;
    }
    if (removals(w->disk) != REMOVALS_MADE)
        disk_say(w, PHASE_FROZEN, TIER_IS_DOWN, "read-only, with removals to be made", 0);
    retry_in(w, FROZEN_RETRY_MS);
}

/* A place that cannot be written: what is there can be read. */
static void freeze(struct disk_writer *w, int error)
{
    struct disk_db_conf conf = {.path = w->disk->path, .mode = disk_frozen_mode(w->disk->path)};
    struct disk_db *db = NULL;
    int ignored;

    disk_file_look(w->disk->path, &w->file);
    if (w->file.kind == DISK_FILE_REGULAR && disk_db_open(&conf, &db, &ignored) == DB_OK) {
        disk_db_close(db);
        retry_in(w, FROZEN_RETRY_MS);
        disk_say(w, PHASE_FROZEN, TIER_DEGRADED, "read-only", error);
    } else {
        down(w, "read-only, and nothing to be read", error);
    }
}

static void set_limits(struct disk_writer *w)
{
    struct disk *d = w->disk;
    uint64_t chunk = (uint64_t)d->chunk_bytes;
    uint64_t bytes = (d->conf.bytes_max - d->log_bytes_max) / chunk * chunk;
    struct disk_space space = {.page_bytes = 1};

    (void)disk_db_space(w->db, &space);
    w->page_bytes = space.page_bytes;
    w->pages_max_conf = w->pages_max = bytes / space.page_bytes;
    disk_db_limit(w->db, w->pages_max_conf);
}

static void begin_use_order(struct disk_writer *w)
{
    int64_t oldest = 0, newest = 0, now_us = clock_wall_ms() * 1000;

    (void)disk_db_used_range(w->db, &oldest, &newest);
    w->used = newest > now_us ? newest : now_us;
    atomic_store(&w->disk->used_middle, oldest + (newest - oldest) / 2);
}

void disk_say_open(struct disk_writer *w)
{
    if (removals(w->disk) != REMOVALS_MADE)
        disk_say(w, PHASE_OPEN, TIER_DEGRADED, why_removals, 0);
    else if (w->pages_max < w->pages_max_conf)
        disk_say(w, PHASE_OPEN, TIER_DEGRADED, "disk full", 0);
    else
        disk_say(w, PHASE_OPEN, TIER_UP, "", 0);
}

static void opened(struct disk_writer *w)
{
    struct disk *d = w->disk;

    disk_file_look(d->path, &w->file);
    disk_file_reserve_log(d->path, (int64_t)d->log_bytes_step);
    set_limits(w);
    begin_use_order(w);
    w->retry_wait_ms = w->room_wait_ms = 0;
    w->tick_ns = w->dirty_ns = 0;
    w->log_held = false;
    pthread_mutex_lock(&d->lock);
    d->refuse_puts_ns = 0;
    d->stats.entries = disk_db_entries(w->db);
    d->stats.bytes = w->file.bytes + w->file.log_bytes;
    pthread_mutex_unlock(&d->lock);
    disk_say_open(w);
}

static enum disk_db_result open_file(struct disk_writer *w, int *out_error)
{
    struct disk *d = w->disk;
    struct disk_db_conf conf = {
        .path = d->path,
        .mode = DB_WRITER,
        .alone = true, /* disk_open is called when no reader has it open any more */
        .log_bytes_keep = (int64_t)d->log_bytes_step * 2,
        .chunk_bytes = d->chunk_bytes,
    };

    disk_file_make(d->path);
    return disk_db_open(&conf, &w->db, out_error);
}

/* True when it is worth another try at once. */
static bool mend(struct disk_writer *w, enum disk_db_result r, int error)
{
    int failed = 0;

    if (r == DB_FULL)
        return disk_file_drop_aside(w->disk->path, 0) > 0;
    if (r == DB_DAMAGED)
        failed = put_away(w, REOPEN_ASIDE, "damaged");
    else if (r == DB_FUTURE)
        failed = put_away(w, REOPEN_ASIDE, "of a later version");
    else
        return false;
    if (failed < 0)
        down(w, "damaged, and cannot be put out of the way", error);
    return failed == 0;
}

static void say_why_not(struct disk_writer *w, enum disk_db_result r, int error)
{
    switch (r) {
    case DB_READ_ONLY:
        freeze(w, error);
        return;
    case DB_FULL:
        down(w, "disk full", error);
        return;
    case DB_STRANGER:
        down(w, "not a database of Refrain's", error);
        return;
    case DB_BUSY:
        down(w, "locked by another program", error);
        return;
    case DB_DAMAGED:
    case DB_FUTURE:
        down(w, "damaged", error);
        return;
    default:
        down(w, "input/output error", error);
        return;
    }
}

static void warn_of_network(struct disk_writer *w)
{
    if (w->network_told || !disk_file_on_network(w->disk->path))
        return;
    w->network_told = true;
    tell(w->disk, &(struct disk_notice){DISK_NOTICE_NETWORK, TIER_DEGRADED, "network file system",
                                        w->disk->path, NULL, 0});
}

static bool put_away_first(struct disk_writer *w)
{
    int r = 0;

    if (removals(w->disk) == REMOVALS_LOST)
        r = put_away(w, REOPEN_REMOVE, "removals could not be made in it");
    else if (w->reopen != REOPEN_PLAIN)
        r = put_away(w, w->reopen, w->reopen_why);
    if (r < 0)
        down(w, "damaged, and cannot be put out of the way", -r);
    return r == 0;
}

void disk_open(struct disk_writer *w)
{
    enum disk_db_result r;
    int error = 0;

    if (is_frozen(w->disk)) {
        thaw(w);
        return;
    }
    disk_file_look(w->disk->path, &w->file);
    if (w->file.kind == DISK_FILE_OTHER) {
        down(w, "not a regular file", 0);
        return;
    }
    warn_of_network(w);
    if (!disk_file_is_writable(w->disk->path) && w->file.kind == DISK_FILE_REGULAR) {
        freeze(w, EROFS);
        return;
    }
    if (!have_lock(w) || !put_away_first(w))
        return;
    r = open_file(w, &error);
    if (mend(w, r, error))
        r = open_file(w, &error);
    if (r == DB_OK)
        opened(w);
    else if (w->retry_ns <= clock_mono_ns())
        say_why_not(w, r, error);
}
