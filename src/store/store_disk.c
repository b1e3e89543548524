#include "refrain/store/store_disk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "store_disk_priv.h"

/* Deadlines of questions that name none; a get's is configured. */
enum { SCAN_MS = 5000, WRITE_MS = 10000, DELETE_IF_MS = 60000, META_MS = 10000 };
enum { JOB_BYTES = 512 };                         /* what a job counts for in the queue beside its record */
enum { FREE_WRITES_MS = 5000, FREE_WAIT_S = 10 }; /* at the end: for what is queued, for threads that hang */

/* -- jobs -- */

static void free_items(struct disk_job *job)
{
    struct list *link;

    while ((link = list_pop_front(&job->items)) != NULL) {
        struct disk_item *item = CONTAINER_OF(link, struct disk_item, link);

        blob_unref(item->blob);
        free(item);
    }
}

void disk_job_unref(struct disk_job *job)
{
    if (atomic_fetch_sub(&job->refs, 1) != 1)
        return;
    free_items(job);
    blob_unref(job->blob);
    free(job);
}

static void answer(struct disk_job *job, enum tier_result result)
{
    struct tier_op *op = job->op;
    struct disk *d = (struct disk *)op->port->tier;

    job->op = NULL;
    atomic_store(&job->unwanted, true);
    atomic_fetch_add(&d->answers[result], 1);
    op->result = result;
    op->on_done(op);
}

static void deliver_page(struct disk_job *job)
{
    struct tier_scan *s = CONTAINER_OF(job->op, struct tier_scan, op);
    int64_t after = job->walk.after;
    enum tier_result result = TIER_OK;

    LIST_FOR(link, &job->items)
    {
        struct disk_item *item = CONTAINER_OF(link, struct disk_item, link);

        s->on_item(s, &item->item, item->blob);
    }
    buf_clear(s->cursor);
    if (!job->walk.at_end && buf_add(s->cursor, &after, sizeof(after)) < 0)
        result = TIER_FAILED;
    answer(job, result);
}

static void deliver(struct disk_job *job)
{
    if (job->result == TIER_OK && job->kind == JOB_GET) {
        struct tier_get *g = CONTAINER_OF(job->op, struct tier_get, op);

        g->blob = job->blob;
        g->gone_ms = job->item.gone_ms;
        job->blob = NULL;
    } else if (job->result == TIER_OK && job->kind == JOB_META_GET) {
        struct store_disk_meta *m = CONTAINER_OF(job->op, struct store_disk_meta, op);

        m->blob = job->blob;
        job->blob = NULL;
    } else if (job->kind == JOB_DELETE_IF) {
        CONTAINER_OF(job->op, struct tier_delete_if, op)->matched = job->matched;
    } else if (job->result == TIER_OK && job->kind == JOB_SCAN) {
        deliver_page(job);
        return;
    }
    answer(job, job->result);
}

static void on_job(struct loop_msg *m)
{
    struct disk_job *job = CONTAINER_OF(m, struct disk_job, msg);

    list_remove(&job->of_port);
    if (job->op)
        deliver(job);
    disk_job_unref(job);
}

void disk_job_done(struct disk *d, struct disk_job *job, enum tier_result result)
{
    bool has_port;

    job->result = result;
    job->msg.on_msg = on_job;
    pthread_mutex_lock(&d->lock);
    has_port = job->port != NULL;
    if (has_port)
        loop_post(job->port->port.loop, &job->msg);
    pthread_mutex_unlock(&d->lock);
    if (!has_port)
        disk_job_unref(job);
}

static void on_matches(struct loop_msg *msg)
{
    struct disk_matches *m = CONTAINER_OF(msg, struct disk_matches, msg);
    struct disk_job *job = m->job;

    if (job->op) {
        struct tier_delete_if *d = CONTAINER_OF(job->op, struct tier_delete_if, op);

        for (size_t i = 0; i < m->n && d->on_match; i++) {
            const struct label label = {.key = m->found[i].key, .family = m->found[i].family};

            d->on_match(d, &label);
        }
    }
    disk_job_unref(job);
    free(m);
}

void disk_matches_post(struct disk *d, struct disk_matches *m)
{
    bool has_port;

    m->msg.on_msg = on_matches;
    atomic_fetch_add(&m->job->refs, 1);
    pthread_mutex_lock(&d->lock);
    has_port = m->job->port != NULL;
    if (has_port)
        loop_post(m->job->port->port.loop, &m->msg);
    pthread_mutex_unlock(&d->lock);
    if (has_port)
        return;
    disk_job_unref(m->job);
    free(m);
}

/* A small fixed allocation: without memory for it nothing goes. */
static struct disk_job *job_alloc(enum disk_job_kind kind, size_t text_bytes)
{
    struct disk_job *job = calloc(1, sizeof(*job) + text_bytes);

    if (!job)
        abort();
    atomic_init(&job->refs, 1);
    list_init(&job->link);
    list_init(&job->of_port);
    list_init(&job->items);
    job->kind = kind;
    return job;
}

static struct disk_job *job_new(struct disk_port *p, struct tier_op *op, enum disk_job_kind kind,
                                size_t text_bytes)
{
    struct disk_job *job = job_alloc(kind, text_bytes);

    job->port = p;
    job->op = op;
    job->if_late = TIER_LATE;
    op->port = &p->port;
    return job;
}

static struct slice job_text(struct disk_job *job, struct slice s)
{
    char *at = job->text + job->text_used;

    if (s.len > 0)
        memcpy(at, s.data, s.len);
    job->text_used += s.len;
    return slice_make(at, s.len);
}

static size_t label_bytes(const struct label *l)
{
    return l->id.len + l->namespace_.len + l->operation.len + l->model.len + l->tags.len;
}

static void job_label(struct disk_job *job, const struct label *l)
{
    job->item.label = *l;
    job->item.label.id = job_text(job, l->id);
    job->item.label.namespace_ = job_text(job, l->namespace_);
    job->item.label.operation = job_text(job, l->operation);
    job->item.label.model = job_text(job, l->model);
    job->item.label.tags = job_text(job, l->tags);
}

static size_t selector_bytes(const struct selector *s)
{
    return s ? s->id.len + s->pattern.len + s->tag.len + s->operation.len + s->model.len + s->namespace_.len
             : 0;
}

static void job_selector(struct disk_job *job, const struct selector *s)
{
    if (!s)
        return;
    job->which = *s;
    job->which.id = job_text(job, s->id);
    job->which.pattern = job_text(job, s->pattern);
    job->which.tag = job_text(job, s->tag);
    job->which.operation = job_text(job, s->operation);
    job->which.model = job_text(job, s->model);
    job->which.namespace_ = job_text(job, s->namespace_);
}

struct disk_job *disk_removal_copy(const struct disk_job *job)
{
    struct disk_job *copy = job_alloc(job->kind, selector_bytes(&job->which));

    job_selector(copy, &job->which);
    copy->item.label.key = job->item.label.key;
    copy->ticket = job->ticket;
    copy->walk = job->walk;
    copy->changed = job->changed;
    return copy;
}

/* -- deadlines -- */

static void arm(struct disk_port *p)
{
    const struct disk_job *first;
    int64_t ms;

    if (list_empty(&p->waiting)) {
        loop_timer_stop(p->timer);
        return;
    }
    first = CONTAINER_OF(p->waiting.next, struct disk_job, of_port);
    ms = (first->late_ns - clock_mono_ns() + 999999) / 1000000;
    loop_timer_start(p->timer, ms > 0 ? ms : 0, 0);
}

static void on_deadline(void *arg)
{
    struct disk_port *p = arg;
    int64_t now_ns = clock_mono_ns();

    while (!list_empty(&p->waiting)) {
        struct disk_job *job = CONTAINER_OF(p->waiting.next, struct disk_job, of_port);

        if (job->late_ns > now_ns)
            break;
        list_remove(&job->of_port);
        list_push_back(&p->answered, &job->of_port);
        answer(job, job->if_late);
    }
    arm(p);
}

/* Most have the same time-out, so that a new one belongs at the end. */
static void wait_for(struct disk_port *p, struct disk_job *job)
{
    struct list *before = p->waiting.prev;

    while (before != &p->waiting && CONTAINER_OF(before, struct disk_job, of_port)->late_ns > job->late_ns)
        before = before->prev;
    list_push_front(before, &job->of_port);
    if (p->waiting.next == &job->of_port)
        arm(p);
}

/* -- queues -- */

static enum tier_result queue_read(struct disk *d, struct disk_job *job)
{
    if (d->phase == PHASE_DOWN || d->removals != REMOVALS_MADE)
        return TIER_DOWN;
    if (d->reads_n >= DISK_READS_MAX)
        return TIER_BUSY;
    d->reads_n++;
    list_push_back(job->kind == JOB_SCAN ? &d->scans : &d->gets, &job->link);
    if (job->kind == JOB_SCAN)
        pthread_cond_broadcast(&d->for_readers); /* they are taken by one of them alone */
    else
        pthread_cond_signal(&d->for_readers);
    return TIER_OK;
}

static void queue_write(struct disk *d, struct list *queue, struct disk_job *job)
{
    job->ticket = ++d->tickets;
    if (queue == &d->writes && list_empty(queue))
        d->first_write_ns = clock_mono_ns();
    list_push_back(queue, &job->link);
    pthread_cond_signal(&d->for_writer);
}

static enum tier_result queue_put(struct disk *d, struct disk_job *job)
{
    if (d->phase == PHASE_DOWN)
        return TIER_DOWN;
    if (d->phase == PHASE_FROZEN || job->blob->len > d->record_bytes_max)
        return TIER_REFUSED;
    if (d->refuse_puts_ns > clock_mono_ns())
        return TIER_FULL;
    if (d->puts_n >= DISK_PUTS_MAX || d->queued_bytes + job->bytes > d->conf.queue_bytes_max)
        return TIER_BUSY;
    d->puts_n++;
    d->queued_bytes += job->bytes;
    queue_write(d, &d->writes, job);
    return TIER_OK;
}

/*
 * What is to be removed is kept where the file is not open at present: it must not be read from it later on.
 * Where that cannot be kept either, the whole file may not be.
 */
static enum tier_result queue_removal(struct disk *d, struct disk_job *job)
{
    bool waits = d->phase == PHASE_DOWN || d->phase == PHASE_FROZEN;

    if (waits && (job->dry_run || job->kind == JOB_META_PUT))
        return d->phase == PHASE_DOWN ? TIER_DOWN : TIER_REFUSED;
    if (d->removals_n >= DISK_REMOVALS_MAX) {
        d->removals = waits ? REMOVALS_LOST : d->removals;
        return waits ? TIER_DOWN : TIER_BUSY;
    }
    d->removals_n++;
    if (waits) {
        d->removals = d->removals == REMOVALS_LOST ? REMOVALS_LOST : REMOVALS_WAIT;
        job->late_ns = 0; /* told at once that it was not done */
        job->if_late = d->phase == PHASE_DOWN ? TIER_DOWN : TIER_REFUSED;
    }
    queue_write(d, job->kind == JOB_REMOVE ? &d->writes : &d->walks, job);
    return TIER_OK;
}

static enum tier_result queue(struct disk *d, struct disk_job *job)
{
    if (d->stopping)
        return TIER_DOWN;
    switch (job->kind) {
    case JOB_GET:
    case JOB_META_GET:
    case JOB_SCAN:
        return queue_read(d, job);
    case JOB_PUT:
        return queue_put(d, job);
    default:
        return queue_removal(d, job);
    }
}

static void submit(struct disk_job *job, int64_t fallback_ms)
{
    struct disk_port *p = job->port;
    struct disk *d = (struct disk *)p->port.tier;
    int64_t ms = job->op->deadline_ms > 0 ? job->op->deadline_ms : fallback_ms;
    enum tier_result r;

    job->late_ns = clock_mono_ns() + ms * 1000000;
    pthread_mutex_lock(&d->lock);
    r = queue(d, job);
    pthread_mutex_unlock(&d->lock);
    /* It may be on its way back already, by a message that this thread takes later. */
    if (r == TIER_OK) {
        wait_for(p, job);
        return;
    }
    list_push_back(&p->answered, &job->of_port);
    disk_job_done(d, job, r);
}

/* -- what a tier does -- */

static struct tier_port *disk_port_open(struct tier *t, struct loop *l)
{
    struct disk_port *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->port.tier = t;
    p->port.loop = l;
    list_init(&p->waiting);
    list_init(&p->answered);
    p->timer = loop_timer_new(l, on_deadline, p);
    return &p->port;
}

/* From here on a job may be done, and given up by its thread, at any time. */
static void let_go(struct list *jobs)
{
    LIST_FOR(link, jobs)
    {
        struct disk_job *job = CONTAINER_OF(link, struct disk_job, of_port);

        job->port = NULL;
        atomic_store(&job->unwanted, true);
        atomic_fetch_add(&job->refs, 1);
    }
}

static void disk_port_close(struct tier_port *port)
{
    struct disk_port *p = (struct disk_port *)port;
    struct disk *d = (struct disk *)port->tier;
    struct list jobs;
    struct list *link;

    list_init(&jobs);
    list_splice_back(&jobs, &p->waiting);
    list_splice_back(&jobs, &p->answered);
    pthread_mutex_lock(&d->lock);
    let_go(&jobs);
    pthread_mutex_unlock(&d->lock);
    while ((link = list_pop_front(&jobs)) != NULL) {
        struct disk_job *job = CONTAINER_OF(link, struct disk_job, of_port);

        if (job->op)
            answer(job, TIER_DOWN);
        disk_job_unref(job);
    }
    loop_timer_free(p->timer);
    free(p);
}

static void disk_get(struct tier_port *p, struct tier_get *g)
{
    struct disk *d = (struct disk *)p->tier;
    struct disk_job *job = job_new((struct disk_port *)p, &g->op, JOB_GET, 0);

    job->item.label.key = g->label.key; /* the rest only makes names */
    submit(job, d->conf.timeout_ms);
}

static void disk_put(struct tier_port *p, struct tier_put *put)
{
    struct disk_job *job = job_new((struct disk_port *)p, &put->op, JOB_PUT, label_bytes(&put->item.label));

    job_label(job, &put->item.label);
    job->item.gone_ms = put->item.gone_ms;
    job->only_newer = put->only_newer;
    job->blob = blob_ref(put->blob);
    job->bytes = put->blob->len + JOB_BYTES;
    submit(job, WRITE_MS);
}

static void disk_remove(struct tier_port *p, struct tier_delete *d)
{
    struct disk_job *job = job_new((struct disk_port *)p, &d->op, JOB_REMOVE, d->only ? d->only->len : 0);

    job->item.label.key = d->label.key;
    job->has_only = d->only != NULL;
    if (d->only)
        job->value = job_text(job, blob_slice(d->only));
    submit(job, WRITE_MS);
}

static void disk_scan(struct tier_port *p, struct tier_scan *s)
{
    struct disk_job *job = job_new((struct disk_port *)p, &s->op, JOB_SCAN, selector_bytes(s->which));

    job_selector(job, s->which);
    job->wants_blobs = s->wants_blobs;
    job->walk.rows_max = s->page_max;
    if (s->cursor->len == sizeof(job->walk.after))
        memcpy(&job->walk.after, s->cursor->data, sizeof(job->walk.after));
    submit(job, SCAN_MS);
}

static void disk_delete_if(struct tier_port *p, struct tier_delete_if *d)
{
    struct disk_job *job = job_new((struct disk_port *)p, &d->op, JOB_DELETE_IF, selector_bytes(d->which));

    job_selector(job, d->which);
    job->dry_run = d->dry_run;
    submit(job, DELETE_IF_MS);
}

void store_disk_meta_get(struct tier_port *p, struct store_disk_meta *m)
{
    struct disk_job *job = job_new((struct disk_port *)p, &m->op, JOB_META_GET, m->name.len);

    job->item.label.id = job_text(job, m->name);
    submit(job, META_MS);
}

void store_disk_meta_put(struct tier_port *p, struct store_disk_meta *m)
{
    struct disk_job *job = job_new((struct disk_port *)p, &m->op, JOB_META_PUT, m->name.len + m->value.len);

    job->item.label.id = job_text(job, m->name);
    job->value = job_text(job, m->value);
    submit(job, META_MS);
}

static void disk_stats(struct tier *t, struct tier_stats *out)
{
    struct disk *d = (struct disk *)t;

    pthread_mutex_lock(&d->lock);
    *out = d->stats;
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < TIER_RESULTS; i++)
        out->errors[i] = atomic_load(&d->answers[i]);
}

static void disk_state(struct tier *t, struct tier_state *out)
{
    struct disk *d = (struct disk *)t;

    pthread_mutex_lock(&d->lock);
    *out = d->state;
    pthread_mutex_unlock(&d->lock);
}

/* -- beginning and end -- */

void disk_thread_ended(struct disk *d)
{
    pthread_mutex_lock(&d->lock);
    d->ended_n++;
    pthread_cond_broadcast(&d->for_end);
    pthread_mutex_unlock(&d->lock);
}

/* Under the lock. False: not in time. All together have the same time: where one hangs, the others most
 * likely do, too. */
static bool wait_for_threads(struct disk *d)
{
    unsigned n = d->readers_n + d->writer_runs;
    struct timespec until;
    int r = 0;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += FREE_WAIT_S;
    while (d->ended_n < n && r == 0)
        r = pthread_cond_timedwait(&d->for_end, &d->lock, &until);
    return d->ended_n == n;
}

/* A thread that hangs in the kernel is not waited for in vain: what it may still touch is left to it. */
static bool end_threads(struct disk *d)
{
    bool ended;

    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    d->stop_ns = clock_mono_ns() + FREE_WRITES_MS * INT64_C(1000000);
    pthread_cond_broadcast(&d->for_readers);
    pthread_cond_broadcast(&d->for_writer);
    ended = wait_for_threads(d);
    pthread_mutex_unlock(&d->lock);
    for (unsigned i = 0; ended && i < d->readers_n; i++)
        (void)pthread_join(d->readers[i], NULL);
    if (ended && d->writer_runs)
        (void)pthread_join(d->writer, NULL);
    return ended;
}

static void disk_free(struct tier *t)
{
    struct disk *d = (struct disk *)t;

    if (!end_threads(d))
        return;
    (void)pthread_cond_destroy(&d->for_readers);
    (void)pthread_cond_destroy(&d->for_writer);
    (void)pthread_cond_destroy(&d->for_end);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

static const struct tier_ops disk_ops = {
    .name = "disk",
    .kind = TIER_DISK,
    .open = disk_port_open,
    .close = disk_port_close,
    .get = disk_get,
    .put = disk_put,
    .remove = disk_remove,
    .scan = disk_scan,
    .delete_if = disk_delete_if,
    .stats = disk_stats,
    .state = disk_state,
    .free = disk_free,
};

static void init_sync(struct disk *d)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->for_readers, &attr);
    (void)pthread_cond_init(&d->for_writer, &attr);
    (void)pthread_cond_init(&d->for_end, &attr);
    (void)pthread_condattr_destroy(&attr);
}

static uint64_t between(uint64_t low, uint64_t n, uint64_t high)
{
    return n < low ? low : n > high ? high : n;
}

/*
 * The bound holds for file and log together. The log is copied into the file every log_bytes_step; it is
 * larger only while somebody reads for long, or a record is, and has an eighth set aside for that.
 */
static void set_sizes(struct disk *d)
{
    uint64_t bytes_max = between(DISK_BYTES_MIN, d->conf.bytes_max, UINT64_C(1) << 44);

    d->conf.bytes_max = bytes_max;
    d->log_bytes_max = between(UINT64_C(2) << 20, bytes_max / 8, UINT64_C(256) << 20);
    d->log_bytes_step = between(UINT64_C(1) << 19, bytes_max / 64, UINT64_C(8) << 20);
    d->record_bytes_max = d->log_bytes_max / 2;
    d->chunk_bytes = (int64_t)between(UINT64_C(1) << 17, bytes_max / 256, UINT64_C(1) << 20);
    d->stats.bytes_max = bytes_max;
}

static bool start_threads(struct disk *d)
{
    d->writer_runs = pthread_create(&d->writer, NULL, disk_writer_main, d) == 0;
    while (d->writer_runs && d->readers_n < DISK_READERS &&
           pthread_create(&d->readers[d->readers_n], NULL, disk_reader_main, d) == 0)
        d->readers_n++;
    return d->readers_n == DISK_READERS;
}

struct tier *store_disk_new(const struct store_disk_conf *conf)
{
    struct disk *d = strlen(conf->path) < DISK_PATH_MAX - 64 ? calloc(1, sizeof(*d)) : NULL;

    if (!d)
        return NULL;
    d->tier.ops = &disk_ops;
    d->conf = *conf;
    memcpy(d->path, conf->path, strlen(conf->path) + 1);
    d->conf.path = d->path;
    list_init(&d->gets);
    list_init(&d->scans);
    list_init(&d->writes);
    list_init(&d->walks);
    d->generation = 1;
    set_sizes(d);
    d->state = (struct tier_state){TIER_DEGRADED, "opening", clock_mono_ms()};
    init_sync(d);
    if (start_threads(d))
        return &d->tier;
    disk_free(&d->tier);
    return NULL;
}
