#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "store_disk_priv.h"

/* A page of a scan ends with whatever comes first. */
enum { PAGE_ROWS = 100, PAGE_ROWS_MAX = 1000, PAGE_BYTES_MAX = 4 << 20, PAGE_NS = 10000000 };

struct reader {
    struct disk *disk;
    struct disk_db *db; /* NULL: not open */
    uint64_t generation;
    bool takes_scans, scanned; /* one reader does, every other time, so that gets go on by the other */
};

static struct disk_job *pop(struct list *queue)
{
    struct list *link = list_pop_front(queue);

    return link ? CONTAINER_OF(link, struct disk_job, link) : NULL;
}

/* Under the lock. */
static struct disk_job *pop_read(struct reader *r)
{
    struct disk *d = r->disk;
    bool scan = r->takes_scans && !list_empty(&d->scans) && (!r->scanned || list_empty(&d->gets));
    struct disk_job *job = pop(scan ? &d->scans : &d->gets);

    r->scanned = scan;
    if (job)
        d->reads_n--;
    return job;
}

/* Under the lock. A connection to a file that is no more is closed as soon as possible: the writer waits. */
static bool must_close(const struct reader *r)
{
    return r->db && (r->generation != r->disk->generation || r->disk->stopping);
}

static void close_db(struct reader *r)
{
    disk_db_close(r->db);
    r->db = NULL;
    pthread_mutex_lock(&r->disk->lock);
    r->disk->connections--;
    pthread_cond_signal(&r->disk->for_writer);
    pthread_mutex_unlock(&r->disk->lock);
}

/* The next question; NULL at the end, when none is left. */
static struct disk_job *take(struct reader *r)
{
    struct disk *d = r->disk;
    struct disk_job *job = NULL;

    pthread_mutex_lock(&d->lock);
    for (;;) {
        if (must_close(r)) {
            pthread_mutex_unlock(&d->lock);
            close_db(r);
            pthread_mutex_lock(&d->lock);
            continue;
        }
        if (d->phase != PHASE_OPENING || d->stopping)
            job = pop_read(r);
        if (job || d->stopping)
            break;
        pthread_cond_wait(&d->for_readers, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return job;
}

/* Counts the connection before it is there: from then on the writer leaves the file where it is. */
static bool may_open(struct reader *r, enum disk_db_mode *out_mode)
{
    struct disk *d = r->disk;
    bool may;

    pthread_mutex_lock(&d->lock);
    may = (d->phase == PHASE_OPEN || d->phase == PHASE_FROZEN) && !d->stopping;
    *out_mode = d->phase == PHASE_FROZEN ? disk_frozen_mode(d->path) : DB_READER;
    r->generation = d->generation;
    d->connections += may;
    pthread_mutex_unlock(&d->lock);
    return may;
}

static enum disk_db_result open_db(struct reader *r)
{
    struct disk_db_conf conf = {.path = r->disk->path};
    enum disk_db_result result;
    int error;

    if (!may_open(r, &conf.mode))
        return DB_BUSY;
    result = disk_db_open(&conf, &r->db, &error);
    if (result != DB_OK)
        close_db(r);
    return result;
}

/* Under a file that is being put aside, or from which something is still to be removed, nothing is read. */
static bool may_read(struct reader *r)
{
    struct disk *d = r->disk;
    bool may;

    pthread_mutex_lock(&d->lock);
    may =
        (d->phase == PHASE_OPEN || d->phase == PHASE_FROZEN) && d->removals == REMOVALS_MADE && !d->stopping;
    pthread_mutex_unlock(&d->lock);
    return may;
}

/* Rows of the younger half stay where they are in the order: it saves most writes, and costs little
 * precision. */
static void note_use(struct disk *d, const struct disk_found *found)
{
    if (found->used > atomic_load(&d->used_middle))
        return;
    pthread_mutex_lock(&d->lock);
    if (d->touches_n < DISK_TOUCHES_MAX)
        d->touches[d->touches_n++] = (struct disk_touch){found->n, found->used};
    pthread_mutex_unlock(&d->lock);
}

static enum disk_db_result read_entry(struct reader *r, struct disk_job *job)
{
    struct disk_found found;
    enum disk_db_result result = disk_db_get(r->db, &job->item.label.key, &found);

    if (result != DB_OK)
        return result;
    if (found.gone_ms <= clock_wall_ms()) {
        blob_unref(found.blob);
        return DB_ABSENT;
    }
    job->blob = found.blob;
    job->item.gone_ms = found.gone_ms;
    note_use(r->disk, &found);
    return DB_OK;
}

/* -- pages of a scan -- */

struct page {
    struct reader *reader;
    struct disk_job *job;
    int64_t now_ms;
    size_t items, items_max, bytes;
    enum disk_db_result result;
};

static struct slice copy_text(char **at, struct slice s)
{
    char *to = *at;

    if (s.len > 0)
        memcpy(to, s.data, s.len);
    *at += s.len;
    return slice_make(to, s.len);
}

static struct disk_item *item_new(const struct tier_item *item)
{
    const struct label *l = &item->label;
    size_t len = l->id.len + l->namespace_.len + l->operation.len + l->model.len + l->tags.len;
    struct disk_item *copy = malloc(sizeof(*copy) + len);
    char *at;

    if (!copy)
        return NULL;
    at = copy->text;
    copy->blob = NULL;
    copy->item = *item;
    copy->item.label.id = copy_text(&at, l->id);
    copy->item.label.namespace_ = copy_text(&at, l->namespace_);
    copy->item.label.operation = copy_text(&at, l->operation);
    copy->item.label.model = copy_text(&at, l->model);
    copy->item.label.tags = copy_text(&at, l->tags);
    return copy;
}

static bool on_row(void *arg, int64_t n, const struct tier_item *item)
{
    struct page *p = arg;
    struct disk_item *copy;

    if (item->gone_ms <= p->now_ms)
        return true;
    copy = item_new(item);
    p->result = copy ? DB_OK : DB_TROUBLE;
    if (copy)
        list_push_back(&p->job->items, &copy->link); /* freed with the job, whatever comes */
    if (copy && p->job->wants_blobs)
        p->result = disk_db_record(p->reader->db, n, &copy->blob);
    if (p->result != DB_OK)
        return false;
    p->bytes += sizeof(*copy) + (copy->blob ? copy->blob->len : 0);
    return ++p->items < p->items_max && p->bytes < PAGE_BYTES_MAX;
}

static enum disk_db_result read_page(struct reader *r, struct disk_job *job)
{
    size_t wanted = job->walk.rows_max;
    struct page page = {.reader = r, .job = job, .now_ms = clock_wall_ms(), .result = DB_OK};
    enum disk_db_result result;

    page.items_max = wanted == 0 ? PAGE_ROWS : wanted < PAGE_ROWS_MAX ? wanted : PAGE_ROWS_MAX;
    job->walk.rows_max = SIZE_MAX;
    job->walk.until_ns = clock_mono_ns() + PAGE_NS;
    result = disk_db_walk(r->db, &job->which, &job->walk, on_row, &page);
    return result == DB_OK ? page.result : result;
}

static enum disk_db_result read_job(struct reader *r, struct disk_job *job)
{
    switch (job->kind) {
    case JOB_GET:
        return read_entry(r, job);
    case JOB_SCAN:
        return read_page(r, job);
    default:
        return disk_db_meta_get(r->db, job->item.label.id, &job->blob);
    }
}

static void report_damage(struct reader *r)
{
    struct disk *d = r->disk;

    pthread_mutex_lock(&d->lock);
    d->damaged = r->generation;
    pthread_cond_signal(&d->for_writer);
    pthread_mutex_unlock(&d->lock);
}

static enum tier_result result_of(struct reader *r, enum disk_db_result result)
{
    switch (result) {
    case DB_OK:
        return TIER_OK;
    case DB_ABSENT:
        return TIER_ABSENT;
    case DB_BUSY:
        return TIER_BUSY;
    case DB_DAMAGED:
        report_damage(r);
        return TIER_FAILED;
    default:
        if (r->db)
            close_db(r); /* the next question opens it anew */
        return TIER_FAILED;
    }
}

static enum tier_result answer_of(struct reader *r, struct disk_job *job)
{
    enum disk_db_result result = DB_OK;

    if (!may_read(r))
        return TIER_DOWN;
    if (atomic_load(&job->unwanted) || clock_mono_ns() >= job->late_ns)
        return TIER_LATE;
    if (!r->db)
        result = open_db(r);
    if (result == DB_OK)
        result = read_job(r, job);
    return result_of(r, result);
}

void *disk_reader_main(void *disk)
{
    struct reader r = {.disk = disk};
    struct disk_job *job;

    pthread_mutex_lock(&r.disk->lock);
    r.takes_scans = !r.disk->scan_reader;
    r.disk->scan_reader = true;
    pthread_mutex_unlock(&r.disk->lock);
    while ((job = take(&r)) != NULL)
        disk_job_done(r.disk, job, answer_of(&r, job));
    if (r.db)
        close_db(&r);
    disk_thread_ended(r.disk);
    return NULL;
}
