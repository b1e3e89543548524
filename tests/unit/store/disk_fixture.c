#include "disk_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/clock.h"

enum { GIVE_UP_MS = 60000, LOOK_MS = 5 };

struct digest disk_key(unsigned n)
{
    return sha256_of(slice_make(&n, sizeof(n)));
}

/* Number, length and seq, then bytes that follow from them: so that two records do not mix unseen. */
enum { AT_LEN = 4, AT_SEQ = 12, AT_FILLING = 20, RECORD_BYTES_MIN = 24 };

struct blob *disk_record(unsigned n, int64_t seq, size_t bytes)
{
    struct blob *b = blob_new(bytes < RECORD_BYTES_MIN ? RECORD_BYTES_MIN : bytes);

    if (!b)
        abort();
    memset(b->bytes, (int)((n * 7 + (unsigned)seq) & 0xff), b->len);
    memcpy(b->bytes, &n, sizeof(n));
    memcpy(b->bytes + AT_LEN, &b->len, sizeof(b->len));
    memcpy(b->bytes + AT_SEQ, &seq, sizeof(seq));
    return b;
}

int64_t disk_record_seq(const struct blob *b)
{
    int64_t seq;

    memcpy(&seq, b->bytes + AT_SEQ, sizeof(seq));
    return seq;
}

bool disk_record_is_whole(const struct blob *b, unsigned n)
{
    unsigned found = 0;
    size_t len = 0;

    if (b->len < RECORD_BYTES_MIN)
        return false;
    memcpy(&found, b->bytes, sizeof(found));
    memcpy(&len, b->bytes + AT_LEN, sizeof(len));
    return found == n && len == b->len &&
           (unsigned char)b->bytes[AT_FILLING] == ((n * 7 + (unsigned)disk_record_seq(b)) & 0xff) &&
           memcmp(b->bytes + AT_FILLING, b->bytes + AT_FILLING + 1, b->len - AT_FILLING - 1) == 0;
}

static void on_notice(void *arg, const struct disk_notice *n)
{
    struct disk_fixture *f = arg;

    atomic_fetch_add(&f->notices[n->kind], 1);
}

void disk_fixture_init(struct disk_fixture *f)
{
    memset(f, 0, sizeof(*f));
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/refrain-disk-XXXXXX");
    if (!mkdtemp(f->dir))
        abort();
    (void)snprintf(f->path, sizeof(f->path), "%s/cache.db", f->dir);
    f->conf = (struct store_disk_conf){
        .path = f->path,
        .bytes_max = 64 << 20,
        .timeout_ms = 20000, /* where time is not the subject, a slow machine is no failure */
        .queue_bytes_max = 64 << 20,
        .on_notice = on_notice,
        .arg = f,
    };
}

static void on_give_up(void *arg)
{
    (void)arg;
    (void)fputs("disk_fixture: waited in vain\n", stderr);
    abort();
}

struct waiting {
    struct disk_fixture *f;
    const bool *flag;
    bool (*holds)(struct disk_fixture *f);
};

static void on_look(void *arg)
{
    struct waiting *w = arg;

    if (w->flag ? *w->flag : w->holds(w->f))
        loop_stop(w->f->loop);
}

static void run(struct waiting *w)
{
    struct loop_timer *give_up = loop_timer_new(w->f->loop, on_give_up, NULL);
    struct loop_timer *look = loop_timer_new(w->f->loop, on_look, w);

    loop_timer_start(give_up, GIVE_UP_MS, 0);
    loop_timer_start(look, 1, LOOK_MS);
    loop_run(w->f->loop);
    loop_timer_free(look);
    loop_timer_free(give_up);
}

void disk_fixture_run(struct disk_fixture *f, const bool *flag)
{
    struct waiting w = {.f = f, .flag = flag};

    run(&w);
}

void disk_fixture_until(struct disk_fixture *f, bool (*holds)(struct disk_fixture *f))
{
    struct waiting w = {.f = f, .holds = holds};

    run(&w);
}

static struct tier_state state(struct disk_fixture *f)
{
    struct tier_state st;

    f->tier->ops->state(f->tier, &st);
    return st;
}

void disk_fixture_wait(struct disk_fixture *f, enum tier_health health, const char *why)
{
    int64_t until_ms = clock_mono_ms() + GIVE_UP_MS;

    for (;;) {
        struct tier_state st = state(f);

        if (st.health == health && strncmp(st.why, why, strlen(why)) == 0)
            return;
        if (clock_mono_ms() > until_ms) {
            (void)fprintf(stderr, "disk_fixture: it is %d (%s), not %d (%s)\n", (int)st.health, st.why,
                          (int)health, why);
            abort();
        }
        (void)usleep(1000);
    }
}

static bool is_opened(struct disk_fixture *f)
{
    return strcmp(state(f).why, "opening") != 0;
}

void disk_fixture_start(struct disk_fixture *f)
{
    f->loop = loop_new();
    f->tier = store_disk_new(&f->conf);
    if (!f->loop || !f->tier)
        abort();
    f->port = f->tier->ops->open(f->tier, f->loop);
    disk_fixture_until(f, is_opened);
}

void disk_fixture_stop(struct disk_fixture *f)
{
    if (!f->tier)
        return;
    f->tier->ops->close(f->port);
    tier_free(f->tier);
    loop_free(f->loop);
    f->tier = NULL;
}

static int on_file(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

void disk_fixture_done(struct disk_fixture *f)
{
    disk_fixture_stop(f);
    (void)nftw(f->dir, on_file, 8, FTW_DEPTH | FTW_PHYS);
}

/* -- one question at a time -- */

struct question {
    struct disk_fixture *f;
    bool done;
    union {
        struct tier_op op;
        struct tier_get get;
        struct tier_put put;
        struct tier_delete remove;
        struct tier_scan scan;
        struct tier_delete_if delete_if;
        struct store_disk_meta meta;
    } is;
};

static void on_done(struct tier_op *op)
{
    CONTAINER_OF(op, struct question, is.op)->done = true;
    loop_stop(CONTAINER_OF(op, struct question, is.op)->f->loop);
}

static enum tier_result answer(struct question *q)
{
    struct loop_timer *give_up = loop_timer_new(q->f->loop, on_give_up, NULL);

    loop_timer_start(give_up, GIVE_UP_MS, 0);
    while (!q->done)
        loop_run(q->f->loop);
    loop_timer_free(give_up);
    return q->is.op.result;
}

static struct slice or_else(const char *text, const char *other)
{
    return slice_str(text ? text : other);
}

enum tier_result disk_fixture_put(struct disk_fixture *f, const struct disk_case *c)
{
    struct question q = {.f = f};
    struct tier_put *p = &q.is.put;
    char id[17];
    enum tier_result r;

    (void)snprintf(id, sizeof(id), "%016x", c->n);
    p->op.on_done = on_done;
    p->item.label = (struct label){
        .key = disk_key(c->n),
        .id = or_else(c->id, id),
        .namespace_ = or_else(c->namespace_, "default"),
        .operation = or_else(c->operation, "chat"),
        .model = or_else(c->model, "gpt-4o"),
        .tags = or_else(c->tags, ""),
        .target = c->target,
        .created_ms = c->created_ms,
        .started_seq = c->seq,
        .family = c->family,
    };
    p->item.gone_ms = c->gone_ms ? c->gone_ms : INT64_MAX;
    p->only_newer = c->only_newer;
    p->blob = disk_record(c->n, c->seq, c->bytes ? c->bytes : 1500);
    f->tier->ops->put(f->port, p);
    r = answer(&q);
    blob_unref(p->blob);
    return r;
}

enum tier_result disk_fixture_put_n(struct disk_fixture *f, unsigned n)
{
    return disk_fixture_put(f, &(struct disk_case){.n = n});
}

enum tier_result disk_fixture_get(struct disk_fixture *f, unsigned n, struct blob **out)
{
    struct question q = {.f = f, .is.get = {.op = {.on_done = on_done}, .label = {.key = disk_key(n)}}};
    enum tier_result r;

    f->tier->ops->get(f->port, &q.is.get);
    r = answer(&q);
    if (r == TIER_OK && out)
        *out = q.is.get.blob;
    else if (r == TIER_OK)
        blob_unref(q.is.get.blob);
    return r;
}

enum tier_result disk_fixture_remove(struct disk_fixture *f, unsigned n, const struct blob *only)
{
    struct question q = {
        .f = f, .is.remove = {.op = {.on_done = on_done}, .label = {.key = disk_key(n)}, .only = only}};

    f->tier->ops->remove(f->port, &q.is.remove);
    return answer(&q);
}

static void on_match(struct tier_delete_if *d, const struct label *l)
{
    struct disk_fixture *f = CONTAINER_OF(d, struct question, is.delete_if)->f;

    f->matched++;
    f->last_key = l->key;
}

enum tier_result disk_fixture_delete_if(struct disk_fixture *f, const struct selector *which, bool dry_run,
                                        uint64_t *out)
{
    struct question q = {
        .f = f,
        .is.delete_if = {
            .op = {.on_done = on_done}, .which = which, .dry_run = dry_run, .on_match = on_match}};
    enum tier_result r;

    f->matched = 0;
    f->tier->ops->delete_if(f->port, &q.is.delete_if);
    r = answer(&q);
    *out = q.is.delete_if.matched;
    return r;
}

static void on_item(struct tier_scan *s, const struct tier_item *item, struct blob *blob)
{
    struct disk_fixture *f = CONTAINER_OF(s, struct question, is.scan)->f;

    f->items++;
    f->last_key = item->label.key;
    if (s->wants_blobs != (blob != NULL))
        abort();
}

enum tier_result disk_fixture_scan(struct disk_fixture *f, const struct selector *which, bool blobs,
                                   size_t page_max)
{
    AUTO(buf_done) struct buf cursor = BUF_INIT(64);
    enum tier_result r;

    f->items = 0;
    do {
        struct question q = {.f = f,
                             .is.scan = {
                                 .op = {.on_done = on_done},
                                 .which = which,
                                 .wants_blobs = blobs,
                                 .page_max = page_max,
                                 .cursor = &cursor,
                                 .on_item = on_item,
                             }};

        f->tier->ops->scan(f->port, &q.is.scan);
        r = answer(&q);
    } while (r == TIER_OK && cursor.len > 0);
    return r;
}

enum tier_result disk_fixture_meta_put(struct disk_fixture *f, const char *name, const char *value)
{
    struct question q = {
        .f = f, .is.meta = {.op = {.on_done = on_done}, .name = slice_str(name), .value = slice_str(value)}};

    store_disk_meta_put(f->port, &q.is.meta);
    return answer(&q);
}

enum tier_result disk_fixture_meta_get(struct disk_fixture *f, const char *name, struct blob **out)
{
    struct question q = {.f = f, .is.meta = {.op = {.on_done = on_done}, .name = slice_str(name)}};
    enum tier_result r;

    store_disk_meta_get(f->port, &q.is.meta);
    r = answer(&q);
    *out = q.is.meta.blob;
    return r;
}

struct tier_stats disk_fixture_stats(struct disk_fixture *f)
{
    struct tier_stats st;

    f->tier->ops->stats(f->tier, &st);
    return st;
}
