/*
 * Keeping house: once a second, and as long as there is more of it to do, what has expired goes, some room is
 * made ahead, unused pages are given back, the log is copied into the file. And what is done on a medium
 * that is full.
 */
#include <stdlib.h>
#include <string.h>

#include "refrain/base/clock.h"
#include "store_disk_write.h"

enum { VACUUM_PAGES = 64 };
enum { ROOM_RETRY_MS = 500, ROOM_RETRY_MAX_MS = 15000 };
#define TICK_NS    (1000 * MS)
#define LOG_AGE_NS (5000 * MS) /* what was committed is on the medium so much later at most */
#define ROOM_BYTES UINT64_C(4194304)

/* -- a full disk -- */

/*
 * The medium has no more room: what was set aside goes first. Then the file stays as large as it is, and
 * takes new entries in place of old ones, until there is room again.
 */
void disk_meet_full(struct disk_writer *w)
{
    struct disk_space space;

    atomic_fetch_add(&w->disk->answers[TIER_FULL], 1); /* counted, also where old entries make room */
    if (disk_file_drop_aside(w->disk->path, 0) > 0)
        return;
    (void)disk_db_checkpoint(w->db, CHECKPOINT_ALL); /* which makes room in the log */
    if (disk_db_space(w->db, &space) == DB_OK && space.pages < w->pages_max)
        w->pages_max = space.pages;
    w->room_wait_ms = ROOM_RETRY_MS;
    w->room_ns = clock_mono_ns() + w->room_wait_ms * MS;
    disk_say_open(w);
}

void disk_refuse_puts(struct disk_writer *w)
{
    struct disk *d = w->disk;

    pthread_mutex_lock(&d->lock);
    d->refuse_puts_ns = clock_mono_ns() + ROOM_RETRY_MS * MS;
    pthread_mutex_unlock(&d->lock);
}

static bool has_room(struct disk_writer *w)
{
    uint64_t ahead = (uint64_t)w->disk->chunk_bytes * 2;
    struct disk_space space;

    ahead = ahead > ROOM_BYTES ? ahead : ROOM_BYTES;
    return disk_file_free_bytes(w->disk->path) >= ahead && disk_db_space(w->db, &space) == DB_OK &&
           disk_db_reserve(w->db, space.pages * space.page_bytes + (uint64_t)w->disk->chunk_bytes) == DB_OK;
}

static void ask_for_room(struct disk_writer *w, int64_t now_ns)
{
    if (w->pages_max == w->pages_max_conf || now_ns < w->room_ns)
        return;
    if (has_room(w)) {
        w->pages_max = w->pages_max_conf;
        disk_say_open(w);
        return;
    }
    w->room_wait_ms = w->room_wait_ms * 2 < ROOM_RETRY_MAX_MS ? w->room_wait_ms * 2 : ROOM_RETRY_MAX_MS;
    w->room_ns = now_ns + w->room_wait_ms * MS;
}

/* -- keeping house -- */

static enum disk_db_result drop_step(struct disk_writer *w, const int64_t *rows, size_t n, uint64_t *counter)
{
    size_t dropped = 0;
    int64_t until_ns = clock_mono_ns() + DISK_STEP_NS;
    enum disk_db_result r = disk_begin(w, false);

    while (dropped < n && r == DB_OK && (dropped == 0 || clock_mono_ns() < until_ns))
        r = disk_db_delete(w->db, rows[dropped++]);
    *counter = dropped; /* one of the transaction's, which begin has cleared */
    r = disk_end(w, r);
    w->more = r == DB_OK;
    return r;
}

static enum disk_db_result drop_expired(struct disk_writer *w)
{
    int64_t rows[DISK_STEP_ROWS];
    size_t n = 0;
    enum disk_db_result r = disk_db_expired(w->db, clock_wall_ms(), rows, DISK_STEP_ROWS, &n);

    return r == DB_OK && n > 0 ? drop_step(w, rows, n, &w->expired) : r;
}

/* Some room is kept, so that a put seldom has to make it. */
static enum disk_db_result keep_room(struct disk_writer *w, const struct disk_space *space)
{
    uint64_t spare = w->pages_max / 128 < 512 ? w->pages_max / 128 : 512;
    int64_t rows[DISK_STEP_ROWS];
    size_t n = 0;
    enum disk_db_result r;

    if (space->pages - space->pages_free + DISK_PAGES_BESIDE + spare <= w->pages_max)
        return DB_OK;
    r = disk_db_oldest(w->db, rows, DISK_STEP_ROWS / 16, &n);
    return r == DB_OK && n > 0 ? drop_step(w, rows, n, &w->evicted) : r;
}

/* What was freed is given back where it is much: steady eviction uses it again. */
static enum disk_db_result give_back(struct disk_writer *w, const struct disk_space *space)
{
    bool too_large = space->pages > w->pages_max_conf && space->pages_free > 0;
    enum disk_db_result r;

    if (!too_large && (space->pages_free < 256 || space->pages_free < w->pages_max / 8))
        return DB_OK;
    r = disk_db_vacuum(w->db, VACUUM_PAGES);
    w->more = r == DB_OK;
    if (w->dirty_ns == 0)
        w->dirty_ns = clock_mono_ns();
    return r == DB_FULL ? DB_OK : r;
}

static enum disk_db_result move_up(struct disk_writer *w)
{
    struct disk *d = w->disk;
    struct disk_touch *touches;
    size_t n;
    enum disk_db_result r;

    pthread_mutex_lock(&d->lock);
    n = d->touches_n;
    d->touches_n = 0;
    touches = n > 0 ? malloc(n * sizeof(*touches)) : NULL;
    if (touches)
        memcpy(touches, d->touches, n * sizeof(*touches));
    pthread_mutex_unlock(&d->lock);
    if (!touches)
        return DB_OK;
    r = disk_begin(w, false);
    for (size_t i = 0; i < n && r == DB_OK; i++)
        r = disk_db_touch(w->db, touches[i].n, touches[i].used, disk_next_use(w));
    free(touches);
    return disk_end(w, r);
}

static void look_at_file(struct disk_writer *w)
{
    struct disk *d = w->disk;
    struct disk_file file;

    disk_file_look(d->path, &file);
    pthread_mutex_lock(&d->lock);
    d->stats.bytes = file.bytes + file.log_bytes;
    pthread_mutex_unlock(&d->lock);
}

/* Once a second. An entry is moved up, or swept, some time later than it could be. */
static enum disk_db_result tick(struct disk_writer *w, int64_t now_ns)
{
    enum disk_db_result r;

    w->tick_ns = now_ns + TICK_NS;
    r = move_up(w);
    ask_for_room(w, now_ns);
    look_at_file(w);
    return r;
}

/*
 * The log is copied into the file in steps. Readers never wait for that, and it waits for none: only where
 * one has held the log back for long are new entries refused, lest it grow past its share of the bound.
 */
static enum disk_db_result copy_log(struct disk_writer *w, int64_t now_ns)
{
    struct disk *d = w->disk;
    uint64_t page_bytes = w->page_bytes;
    struct disk_log log = disk_db_log(w->db);
    bool old = w->dirty_ns > 0 && now_ns - w->dirty_ns >= LOG_AGE_NS;
    bool held = log.frames * page_bytes > d->log_bytes_max / 2;
    enum disk_db_result r;

    if (!old && (log.frames - log.copied) * page_bytes < d->log_bytes_step && !(held && w->log_held))
        return DB_OK;
    r = disk_db_checkpoint(w->db, held ? CHECKPOINT_ALL : CHECKPOINT_STEP);
    w->dirty_ns = 0;
    w->log_held = held && r == DB_BUSY;
    if (w->log_held)
        disk_refuse_puts(w);
    return r == DB_BUSY || r == DB_FULL ? DB_OK : r;
}

void disk_keep_house(struct disk_writer *w)
{
    int64_t now_ns = clock_mono_ns();
    struct disk_space space;
    enum disk_db_result r = DB_OK;

    if (now_ns >= w->tick_ns) {
        if (!disk_file_is_ours(w)) {
            disk_reopen(w, REOPEN_ASIDE, "taken away");
            return;
        }
        r = tick(w, now_ns);
        w->more = true;
    }
    if (r == DB_OK && w->more) {
        w->more = false;
        r = drop_expired(w);
        if (r == DB_OK)
            r = disk_db_space(w->db, &space);
        if (r == DB_OK)
            r = keep_room(w, &space);
        if (r == DB_OK)
            r = give_back(w, &space);
    }
    if (r == DB_OK)
        r = copy_log(w, now_ns);
    if (r != DB_OK && r != DB_FULL) /* full: nothing is lost by leaving it for later */
        disk_react(w, r, false);
}
