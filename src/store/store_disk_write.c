/*
 * The disk tier's writer: what waits is taken in groups, each of them one transaction, and whoever asked is
 * told. Removals that go in steps are store_disk_sweep.c's, what has to be done now and then and a full
 * medium store_disk_house.c's.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "store_disk_write.h"

/*
 * What is written within one transaction: all that waits, up to the first two; and where little waits, it is
 * given GATHER_NS to become more.
 */
enum { GROUP_JOBS = 64, GATHER_JOBS = 32 };
enum { GATHER_NS = 3000000 };
enum { EVICT_ROWS = 16 };
enum { WAIT_READERS_MS = 10 };

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
        if (space.pages - space.pages_free + bytes / space.page_bytes + DISK_PAGES_BESIDE <= w->pages_max)
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

int64_t disk_next_use(struct disk_writer *w)
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
        r = disk_db_put(w->db, &job->item, job->blob, job->only_newer, disk_next_use(w), &replaced);
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

enum disk_db_result disk_begin(struct disk_writer *w, bool synced)
{
    w->evicted = w->expired = w->replaced = 0;
    return disk_db_begin(w->db, synced);
}

/* Ends what begin began, well or not. */
enum disk_db_result disk_end(struct disk_writer *w, enum disk_db_result r)
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

enum disk_db_result disk_commit_jobs(struct disk_writer *w, struct disk_job *const *jobs, size_t n)
{
    enum disk_db_result r = disk_begin(w, must_sync(jobs, n));

    for (size_t i = 0; i < n && r == DB_OK; i++)
        r = apply(w, jobs[i]);
    return disk_end(w, r);
}

/* -- what comes of it -- */

enum tier_result disk_refusal(enum disk_db_result r)
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
void disk_keep_removal(struct disk *d, const struct disk_job *job, struct list *queue)
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
        disk_keep_removal(d, job, &d->writes);
    if (is_removal(job))
        removal_made(d);
    disk_job_done(d, job, r == DB_OK ? job->result : disk_refusal(r));
}

/*
 * What an error means for the file as a whole. A removal that finds no room even in a log that was begun anew
 * has the file removed: that can always be done, and what should be gone is gone.
 */
void disk_react(struct disk_writer *w, enum disk_db_result r, bool removal)
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
            disk_refuse_puts(w);
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
        enum disk_db_result r = disk_commit_jobs(w, &jobs[i], 1);

        if (r == DB_FULL) {
            (void)disk_db_checkpoint(w->db, CHECKPOINT_ALL);
            r = disk_commit_jobs(w, &jobs[i], 1);
        }
        finish(w, jobs[i], r);
        if (r == DB_OK)
            continue;
        disk_react(w, r, removal);
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
    r = disk_commit_jobs(w, jobs, n);
    if (r == DB_FULL) {
        disk_meet_full(w);
        write_singly(w, jobs, n);
        return;
    }
    finish_all(w, jobs, n, r);
    disk_react(w, r, false);
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
        disk_write_step(w);
    if (w->db)
        disk_keep_house(w);
    if (w->db)
        disk_removals_made(w);
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
