#include "recode.h"

#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/store/shrink.h"

enum { SHRINKING_MAX = 1024 };

struct job {
    struct loop_work work;
    struct site *site;
    struct entry_ref ref;
    size_t slot;
    bool with_identity;
};

static void on_work(struct loop_work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);
    const struct site *s = j->site;
    struct entry_box *box = j->with_identity ? shrink_undo(j->ref.entry, s->gate.object_bytes_max)
                                             : shrink_entry(j->ref.entry, &s->shrink_memory);

    if (box && store_mem_recode(s->memory, entry_box_entry(box), clock_wall_ms()) == 0 && !j->with_identity)
        store_note_shrunk(s->store, j->ref.entry->body.len, entry_box_entry(box)->body.len);
    entry_box_unref(box);
}

static void on_done(struct loop_work *w)
{
    struct job *j = CONTAINER_OF(w, struct job, work);

    entry_ref_release(&j->ref);
    if (j->with_identity)
        atomic_flag_clear(&j->site->undoing[j->slot]);
    else
        atomic_fetch_sub(&j->site->shrinking, 1);
    site_unref(j->site);
    free(j);
}

/* false: there is nothing to be done, or nothing to do it with. */
static bool start(struct site *s, struct loop *l, const struct digest *key, struct job job)
{
    struct job *j = NULL;

    if (!store_mem_peek(s->memory, key, clock_wall_ms(), &job.ref))
        return false;
    j = malloc(sizeof(*j));
    if (!j) {
        entry_ref_release(&job.ref);
        return false;
    }
    *j = job;
    j->site = site_ref(s);
    j->work = (struct loop_work){.on_work = on_work, .on_done = on_done};
    loop_work_start(l, &j->work);
    return true;
}

void recode_with_identity(struct site *s, struct loop *l, const struct digest *key)
{
    size_t slot = (key->bytes[6] | (size_t)key->bytes[7] << 8) % ARRAY_LEN(s->undoing);

    if (!s->memory || atomic_flag_test_and_set(&s->undoing[slot]))
        return;
    if (!start(s, l, key, (struct job){.slot = slot, .with_identity = true}))
        atomic_flag_clear(&s->undoing[slot]);
}

void recode_shrunk(struct site *s, struct loop *l, const struct digest *key)
{
    if (!s->memory || s->shrink_memory.level == 0)
        return;
    if (atomic_fetch_add(&s->shrinking, 1) >= SHRINKING_MAX ||
        !start(s, l, key, (struct job){.with_identity = false}))
        atomic_fetch_sub(&s->shrinking, 1);
}
