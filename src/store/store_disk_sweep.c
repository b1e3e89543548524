/*
 * Removals in steps, and what stands in order with them: a walk over the file deletes what a selector means,
 * some rows a transaction, so that puts and reads go on beside it.
 */
#include <stdlib.h>

#include "refrain/base/clock.h"
#include "store_disk_write.h"

enum { WALK_ROWS = 4096 };

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
    int64_t until_ns = clock_mono_ns() + DISK_STEP_NS;
    enum disk_db_result r = disk_begin(w, false);
    size_t i = 0;

    while (i < n && r == DB_OK && (i == 0 || clock_mono_ns() < until_ns))
        r = disk_db_delete(w->db, rows[i++]);
    *out_n = i;
    return disk_end(w, r);
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
        disk_keep_removal(w->disk, job, &w->disk->walks);
    end_walk(w, job, disk_refusal(r));
    disk_react(w, r, true);
}

static void end_delete_if(struct disk_writer *w, struct disk_job *job)
{
    enum disk_db_result r = DB_OK;

    if (job->changed)
        r = disk_end(w, disk_begin(w, true)); /* on the medium, with all steps before */
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
    job->walk.until_ns = clock_mono_ns() + DISK_STEP_NS;
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
    enum disk_db_result r = disk_commit_jobs(w, &job, 1);

    end_walk(w, job, r == DB_OK ? job->result : disk_refusal(r));
    if (r != DB_FULL)
        disk_react(w, r, false);
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

void disk_write_step(struct disk_writer *w)
{
    struct disk_job *job = next_walk(w->disk);

    if (job && job->kind == JOB_META_PUT)
        write_value(w, job);
    else if (job)
        delete_if(w, job);
}

void disk_removals_made(struct disk_writer *w)
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
