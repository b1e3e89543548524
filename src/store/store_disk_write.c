#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "store_disk_priv.h"

#define MS INT64_C(1000000)

/*
 * What is written within one transaction: all that waits, up to the first two; and where little waits, it is
 * given GATHER_NS to become more.
 */
enum { GROUP_JOBS = 64, GATHER_JOBS = 32 };
enum { GATHER_NS = 3000000, STEP_NS = 8000000 };
enum { WALK_ROWS = 4096, EVICT_ROWS = 16 };
enum { PAGES_BESIDE = 24 }; /* that the rows and indexes of one entry may need beside its record */
enum { VACUUM_PAGES = 64 };
enum { WAIT_READERS_MS = 10 };
enum { ROOM_RETRY_MS = 500, ROOM_RETRY_MAX_MS = 15000 };
#define TICK_NS    (1000 * MS)
#define LOG_AGE_NS (5000 * MS) /* what was committed is on the medium so much later at most */
#define ROOM_BYTES UINT64_C(4194304)

/* -- what waits -- */

/* Under the lock: is there something to be written now? */
static bool has_work(const struct disk *d, int64_t now_ns)
{
    if (d->damaged == d->generation && d->generation > 0)
        return true;
    if (!list_empty(&d->walks))
        return true;
    if (list_empty(&d->writes))
        return false;
    return d->puts_n >= GATHER_JOBS || d->removals_n > 0 || now_ns - d->first_write_ns >= GATHER_NS;
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Under the lock: the file is opened, or tried again, once no reader has it open; a frozen one is only looked
 * at. */
static bool may_open(const struct disk *d)
{
    return d->phase == PHASE_FROZEN || d->connections == 0;
}

/* Under the lock: when the writer is to wake at the latest. */
static int64_t wake_at(const struct disk_writer *w, int64_t now_ns)
{
    const struct disk *d = w->disk;

    if (!w->db)
        return may_open(d) ? w->retry_ns : now_ns + WAIT_READERS_MS * MS;
    if (w->more)
        return now_ns;
    return list_empty(&d->writes) ? w->tick_ns : earliest(w->tick_ns, d->first_write_ns + GATHER_NS);
}

/* Under the lock. What is queued is written, if that can be done soon. */
static bool must_end(const struct disk_writer *w, int64_t now_ns)
{
    const struct disk *d = w->disk;
    bool hopeless = !w->db && d->phase != PHASE_OPENING;

    return d->stopping &&
           (hopeless || now_ns >= d->stop_ns || (list_empty(&d->writes) && list_empty(&d->walks)));
}

static void wait_until(struct disk *d, int64_t at_ns)
{
    struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};

    (void)pthread_cond_timedwait(&d->for_writer, &d->lock, &at);
}

/* False at the end. */
static bool wait_for_work(struct disk_writer *w)
{
    struct disk *d = w->disk;
    bool go_on;

    pthread_mutex_lock(&d->lock);
    for (;;) {
        int64_t now_ns = clock_mono_ns(), at_ns = wake_at(w, now_ns);

        go_on = !must_end(w, now_ns);
        if (!go_on || at_ns <= now_ns || (w->db && has_work(d, now_ns)))
            break;
        wait_until(d, at_ns);
    }
    pthread_mutex_unlock(&d->lock);
    return go_on;
}

static bool is_removal(const struct disk_job *job)
{
    return job->kind != JOB_PUT;
}

static size_t take_group(struct disk_writer *w, struct disk_job *jobs[GROUP_JOBS])
{
    struct disk *d = w->disk;
    size_t n = 0, bytes = 0;

    pthread_mutex_lock(&d->lock);
    while (n < GROUP_JOBS && bytes < d->log_bytes_step && !list_empty(&d->writes)) {
        struct disk_job *job = CONTAINER_OF(list_pop_front(&d->writes), struct disk_job, link);

        jobs[n++] = job;
        bytes += job->bytes;
        d->queued_bytes -= job->bytes;
        d->puts_n -= !is_removal(job);
    }
    pthread_mutex_unlock(&d->lock);
    return n;
}

static void removal_made(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->removals_n--;
    pthread_mutex_unlock(&d->lock);
}

/* -- one group -- */

static enum disk_db_result delete_rows(struct disk_writer *w, const int64_t *rows, size_t n)
{
    enum disk_db_result r = DB_OK;

    for (size_t i = 0; i < n && r == DB_OK; i++)
        r = disk_db_delete(w->db, rows[i]);
    return r;
}

/* Drops what was longest not used until @bytes more fit below the bound. */
static enum disk_db_result make_room(struct disk_writer *w, uint64_t bytes)
{
    for (;;) {
        struct disk_space space;
        int64_t rows[EVICT_ROWS];
        size_t n = 0;
        enum disk_db_result r = disk_db_space(w->db, &space);

        if (r != DB_OK)
            return r;
        if (space.pages - space.pages_free + bytes / space.page_bytes + PAGES_BESIDE <= w->pages_max)
            return DB_OK;
        r = disk_db_oldest(w->db, rows, EVICT_ROWS, &n);
        if (r == DB_OK && n == 0)
            return DB_FULL;
        if (r == DB_OK)
            r = delete_rows(w, rows, n);
        if (r != DB_OK)
            return r;
        w->evicted += n;
    }
}

static int64_t next_use(struct disk_writer *w)
{
    int64_t now_us = clock_wall_ms() * 1000;

    w->used = now_us > w->used ? now_us : w->used + 1; /* an order, whatever the clock does */
    return w->used;
}

static enum disk_db_result put(struct disk_writer *w, struct disk_job *job)
{
    bool replaced = false;
    enum disk_db_result r = make_room(w, job->blob->len);

    if (r == DB_OK)
        r = disk_db_put(w->db, &job->item, job->blob, job->only_newer, next_use(w), &replaced);
    w->replaced += replaced;
    job->result = TIER_OK;
    return r == DB_NEWER ? DB_OK : r;
}

static enum disk_db_result drop(struct disk_writer *w, struct disk_job *job)
{
    int64_t n = 0;
    enum disk_db_result r = disk_db_find(w->db, &job->item.label.key, job->has_only ? &job->value : NULL, &n);

    job->result = r == DB_ABSENT ? TIER_ABSENT : TIER_OK;
    if (r == DB_ABSENT)
        return DB_OK;
    return r == DB_OK ? disk_db_delete(w->db, n) : r;
}

static enum disk_db_result keep_value(struct disk_writer *w, struct disk_job *job)
{
    enum disk_db_result r;

    job->result = TIER_REFUSED;
    if (job->item.label.id.len > DISK_META_NAME_MAX || job->value.len > DISK_META_VALUE_MAX)
        return DB_OK;
    r = disk_db_meta_put(w->db, job->item.label.id, job->value);
    if (r == DB_REFUSED)
        return DB_OK;
    job->result = TIER_OK;
    return r;
}

static enum disk_db_result apply(struct disk_writer *w, struct disk_job *job)
{
    switch (job->kind) {
    case JOB_PUT:
        return put(w, job);
    case JOB_REMOVE:
        return drop(w, job);
    default:
        return keep_value(w, job);
    }
}

static void count(struct disk_writer *w)
{
    struct disk *d = w->disk;
    int64_t oldest = 0, newest = 0;

    (void)disk_db_used_range(w->db, &oldest, &newest);
    atomic_store(&d->used_middle, oldest + (newest - oldest) / 2);
    pthread_mutex_lock(&d->lock);
    d->stats.evicted_space += w->evicted;
    d->stats.expired += w->expired;
    d->stats.replaced += w->replaced;
    d->stats.entries = disk_db_entries(w->db);
    pthread_mutex_unlock(&d->lock);
}

static enum disk_db_result begin(struct disk_writer *w, bool synced)
{
    w->evicted = w->expired = w->replaced = 0;
    return disk_db_begin(w->db, synced);
}

/* Ends what begin began, well or not. */
static enum disk_db_result end(struct disk_writer *w, enum disk_db_result r)
{
    if (r == DB_OK)
        r = disk_db_commit(w->db);
    if (r != DB_OK) {
        disk_db_rollback(w->db);
        return r;
    }
    count(w);
    if (w->dirty_ns == 0)
        w->dirty_ns = clock_mono_ns();
    return DB_OK;
}

/* What was removed must stay so after a loss of power; what was stored may be lost. A record that is dropped
 * because it is no good is no loss either way. */
static bool must_sync(struct disk_job *const *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_removal(jobs[i]) && !jobs[i]->has_only)
            return true;
    return false;
}

static enum disk_db_result commit_jobs(struct disk_writer *w, struct disk_job *const *jobs, size_t n)
{
    enum disk_db_result r = begin(w, must_sync(jobs, n));

    for (size_t i = 0; i < n && r == DB_OK; i++)
        r = apply(w, jobs[i]);
    return end(w, r);
}

/* -- a full disk -- */

/*
 * The medium has no more room: what was set aside goes first. Then the file stays as large as it is, and
 * takes new entries in place of old ones, until there is room again.
 */
static void meet_full(struct disk_writer *w)
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

static void refuse_puts(struct disk_writer *w)
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

/* -- what comes of it -- */

static enum tier_result refusal(enum disk_db_result r)
{
    switch (r) {
    case DB_FULL:
        return TIER_FULL;
    case DB_READ_ONLY:
        return TIER_REFUSED;
    case DB_BUSY:
        return TIER_BUSY;
    default:
        return TIER_FAILED;
    }
}

/* A removal is not given up: it is made before anything is read again, while who asked hears of the trouble.
 */
static void keep_removal(struct disk *d, const struct disk_job *job, struct list *queue)
{
    struct disk_job *copy = disk_removal_copy(job);

    pthread_mutex_lock(&d->lock);
    d->removals = d->removals == REMOVALS_LOST ? REMOVALS_LOST : REMOVALS_WAIT;
    d->removals_n++;
    list_push_front(queue, &copy->link);
    pthread_mutex_unlock(&d->lock);
}

static void lose_removals(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->removals = REMOVALS_LOST;
    pthread_mutex_unlock(&d->lock);
}

static void finish(struct disk_writer *w, struct disk_job *job, enum disk_db_result r)
{
    struct disk *d = w->disk;

    if (job->kind == JOB_REMOVE && r != DB_OK && !job->has_only)
        keep_removal(d, job, &d->writes);
    if (is_removal(job))
        removal_made(d);
    disk_job_done(d, job, r == DB_OK ? job->result : refusal(r));
}

/*
 * What an error means for the file as a whole. A removal that finds no room even in a log that was begun anew
 * has the file removed: that can always be done, and what should be gone is gone.
 */
static void react(struct disk_writer *w, enum disk_db_result r, bool removal)
{
    switch (r) {
    case DB_DAMAGED:
        disk_reopen(w, REOPEN_ASIDE, "damaged");
        return;
    case DB_READ_ONLY:
        disk_reopen(w, REOPEN_PLAIN, NULL); /* which finds what can still be done */
        return;
    case DB_TROUBLE:
        disk_rest(w);
        return;
    case DB_FULL:
        if (removal) {
            lose_removals(w->disk);
            disk_reopen(w, REOPEN_REMOVE, "removals could not be made in it");
        } else {
            refuse_puts(w);
        }
        return;
    default:
        return;
    }
}

/* Backwards, so that removals that are kept stand in their order again. */
static void finish_all(struct disk_writer *w, struct disk_job *const *jobs, size_t n, enum disk_db_result r)
{
    while (n-- > 0)
        finish(w, jobs[n], r);
}

static void write_singly(struct disk_writer *w, struct disk_job *const *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool removal = is_removal(jobs[i]);
        enum disk_db_result r = commit_jobs(w, &jobs[i], 1);

        if (r == DB_FULL) {
            (void)disk_db_checkpoint(w->db, CHECKPOINT_ALL);
            r = commit_jobs(w, &jobs[i], 1);
        }
        finish(w, jobs[i], r);
        if (r == DB_OK)
            continue;
        react(w, r, removal);
        if (r == DB_FULL && !removal)
            continue;
        finish_all(w, jobs + i + 1, n - i - 1, r);
        return;
    }
}

static void write_group(struct disk_writer *w)
{
    struct disk_job *jobs[GROUP_JOBS];
    size_t n = take_group(w, jobs);
    enum disk_db_result r;

    if (n == 0)
        return;
    r = commit_jobs(w, jobs, n);
    if (r == DB_FULL) {
        meet_full(w);
        write_singly(w, jobs, n);
        return;
    }
    finish_all(w, jobs, n, r);
    react(w, r, false);
}

/* -- removals in steps, and what stands in order with them -- */

struct sweep {
    struct disk_matches *matches;
    int64_t rows[DISK_STEP_ROWS];
};

static bool on_row(void *arg, int64_t n, const struct tier_item *item)
{
    struct sweep *s = arg;

    s->rows[s->matches->n] = n;
    s->matches->found[s->matches->n++] = (struct disk_match){item->label.key, item->label.family};
    return s->matches->n < DISK_STEP_ROWS;
}

/* As many as the time allows, one at least; how many in @out_n. */
static enum disk_db_result delete_in_time(struct disk_writer *w, const int64_t *rows, size_t n, size_t *out_n)
{
    int64_t until_ns = clock_mono_ns() + STEP_NS;
    enum disk_db_result r = begin(w, false);
    size_t i = 0;

    while (i < n && r == DB_OK && (i == 0 || clock_mono_ns() < until_ns))
        r = disk_db_delete(w->db, rows[i++]);
    *out_n = i;
    return end(w, r);
}

static enum disk_db_result delete_step(struct disk_writer *w, struct disk_job *job, struct sweep *s)
{
    size_t wanted = s->matches->n, n = 0;
    enum disk_db_result r;

    if (job->dry_run || wanted == 0)
        return DB_OK;
    r = delete_in_time(w, s->rows, wanted, &n);
    if (r == DB_FULL) {
        (void)disk_db_checkpoint(w->db, CHECKPOINT_ALL);
        r = delete_in_time(w, s->rows, 1, &n);
    }
    if (r == DB_OK && n < wanted) {
        job->walk.after = s->rows[n - 1];
        job->walk.at_end = false;
        s->matches->n = n;
    }
    return r;
}

static void end_walk(struct disk_writer *w, struct disk_job *job, enum tier_result result)
{
    struct disk *d = w->disk;

    pthread_mutex_lock(&d->lock);
    list_remove(&job->link);
    d->removals_n--;
    pthread_mutex_unlock(&d->lock);
    disk_job_done(d, job, result);
}

static void step_failed(struct disk_writer *w, struct disk_job *job, enum disk_db_result r, int64_t after)
{
    job->walk.after = after;
    if (!job->dry_run)
        keep_removal(w->disk, job, &w->disk->walks);
    end_walk(w, job, refusal(r));
    react(w, r, true);
}

static void end_delete_if(struct disk_writer *w, struct disk_job *job)
{
    enum disk_db_result r = DB_OK;

    if (job->changed)
        r = end(w, begin(w, true)); /* on the medium, with all steps before */
    if (r == DB_OK)
        end_walk(w, job, TIER_OK);
    else
        step_failed(w, job, r, job->walk.after);
}

static void delete_if(struct disk_writer *w, struct disk_job *job)
{
    struct sweep s = {.matches = calloc(1, sizeof(*s.matches))};
    int64_t after = job->walk.after;
    enum disk_db_result r;

    if (!s.matches)
        abort(); /* small and fixed */
    s.matches->job = job;
    job->walk.rows_max = WALK_ROWS;
    job->walk.until_ns = clock_mono_ns() + STEP_NS;
    r = disk_db_walk(w->db, &job->which, &job->walk, on_row, &s);
    if (r == DB_OK)
        r = delete_step(w, job, &s);
    if (r != DB_OK) {
        free(s.matches);
        step_failed(w, job, r, after);
        return;
    }
    for (size_t i = 0; i < s.matches->n; i++)
        job->matched += !s.matches->found[i].family;
    job->changed = job->changed || (!job->dry_run && s.matches->n > 0);
    if (s.matches->n > 0)
        disk_matches_post(w->disk, s.matches);
    else
        free(s.matches);
    if (job->walk.at_end)
        end_delete_if(w, job);
}

static void write_value(struct disk_writer *w, struct disk_job *job)
{
    enum disk_db_result r = commit_jobs(w, &job, 1);

    end_walk(w, job, r == DB_OK ? job->result : refusal(r));
    if (r != DB_FULL)
        react(w, r, false);
}

/* The first of them, once all that was asked for before it has been written. */
static struct disk_job *next_walk(struct disk *d)
{
    struct disk_job *walk = NULL, *write = NULL;

    pthread_mutex_lock(&d->lock);
    if (!list_empty(&d->walks))
        walk = CONTAINER_OF(d->walks.next, struct disk_job, link);
    if (!list_empty(&d->writes))
        write = CONTAINER_OF(d->writes.next, struct disk_job, link);
    pthread_mutex_unlock(&d->lock);
    return walk && write && write->ticket < walk->ticket ? NULL : walk;
}

static void write_step(struct disk_writer *w)
{
    struct disk_job *job = next_walk(w->disk);

    if (job && job->kind == JOB_META_PUT)
        write_value(w, job);
    else if (job)
        delete_if(w, job);
}

static void removals_made(struct disk_writer *w)
{
    struct disk *d = w->disk;
    bool now;

    pthread_mutex_lock(&d->lock);
    now = d->removals == REMOVALS_WAIT && d->removals_n == 0;
    if (now)
        d->removals = REMOVALS_MADE;
    pthread_mutex_unlock(&d->lock);
    if (now)
        disk_say_open(w);
}

/* -- keeping house -- */

static enum disk_db_result drop_step(struct disk_writer *w, const int64_t *rows, size_t n, uint64_t *counter)
{
    size_t dropped = 0;
    int64_t until_ns = clock_mono_ns() + STEP_NS;
    enum disk_db_result r = begin(w, false);

    while (dropped < n && r == DB_OK && (dropped == 0 || clock_mono_ns() < until_ns))
        r = disk_db_delete(w->db, rows[dropped++]);
    *counter = dropped; /* one of the transaction's, which begin has cleared */
    r = end(w, r);
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

    if (space->pages - space->pages_free + PAGES_BESIDE + spare <= w->pages_max)
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
    r = begin(w, false);
    for (size_t i = 0; i < n && r == DB_OK; i++)
        r = disk_db_touch(w->db, touches[i].n, touches[i].used, next_use(w));
    free(touches);
    return end(w, r);
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
        refuse_puts(w);
    return r == DB_BUSY || r == DB_FULL ? DB_OK : r;
}

static void keep_house(struct disk_writer *w)
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
        react(w, r, false);
}

/* -- the thread -- */

static bool damage_was_reported(struct disk *d)
{
    bool reported;

    pthread_mutex_lock(&d->lock);
    reported = d->damaged == d->generation && d->generation > 0;
    pthread_mutex_unlock(&d->lock);
    return reported;
}

static void work(struct disk_writer *w)
{
    if (damage_was_reported(w->disk))
        disk_reopen(w, REOPEN_ASIDE, "damaged");
    if (w->db)
        write_group(w);
    if (w->db)
        write_step(w);
    if (w->db)
        keep_house(w);
    if (w->db)
        removals_made(w);
}

static bool is_kept(const struct disk_job *job)
{
    return (job->kind == JOB_REMOVE && !job->has_only) || (job->kind == JOB_DELETE_IF && !job->dry_run);
}

/* Under the lock. A removal that is to be kept goes on as a copy in its place, unless it is one. */
static void take_refused(struct disk *d, struct list *queue, bool keep, struct list *out)
{
    LIST_FOR_SAFE(it, queue)
    {
        struct disk_job *job = CONTAINER_OF(it, struct disk_job, link);

        if (keep && is_kept(job) && !job->port)
            continue;
        if (keep && is_kept(job)) {
            list_push_front(it, &disk_removal_copy(job)->link); /* behind it; it_next was taken before */
            d->removals = d->removals == REMOVALS_LOST ? REMOVALS_LOST : REMOVALS_WAIT;
            d->removals_n++;
        }
        list_remove(it);
        list_push_back(out, it);
        d->queued_bytes -= job->bytes;
        d->puts_n -= !is_removal(job);
        d->removals_n -= is_removal(job);
    }
}

/* What cannot be written as there is no file to be written. */
static void refuse_waiting(struct disk_writer *w, bool keep)
{
    struct disk *d = w->disk;
    struct list jobs;
    struct list *link;

    list_init(&jobs);
    pthread_mutex_lock(&d->lock);
    if (d->phase == PHASE_DOWN || d->phase == PHASE_FROZEN || !keep) {
        take_refused(d, &d->writes, keep, &jobs);
        take_refused(d, &d->walks, keep, &jobs);
    }
    pthread_mutex_unlock(&d->lock);
    while ((link = list_pop_front(&jobs)) != NULL)
        disk_job_done(d, CONTAINER_OF(link, struct disk_job, link), TIER_DOWN);
}

static void end_writer(struct disk_writer *w)
{
    if (w->db)
        (void)disk_db_checkpoint(w->db, CHECKPOINT_LAST);
    disk_db_close(w->db);
    w->db = NULL;
    refuse_waiting(w, false);
    if (w->lock_fd >= 0)
        (void)close(w->lock_fd);
}

void *disk_writer_main(void *disk)
{
    struct disk_writer w = {.disk = disk, .lock_fd = -1};

    while (wait_for_work(&w)) {
        if (w.db)
            work(&w);
        else
            disk_open(&w);
        if (!w.db)
            refuse_waiting(&w, true);
    }
    end_writer(&w);
    disk_thread_ended(w.disk);
    return NULL;
}
