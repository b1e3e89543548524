#include "refrain/store/entry_ref.h"

#include "refrain/store/store_mem.h"

enum { TELL_PARTS = 10 };

struct entry_ref entry_ref_of_box(struct entry_box *box, enum metric_tier tier)
{
    const struct entry *e = entry_box_entry(box);

    return (struct entry_ref){
        .entry = e, .box = entry_box_ref(box), .expires_ms = e->expires_ms, .hits = 1, .tier = tier};
}

struct entry_ref entry_ref_again(const struct entry_ref *ref)
{
    struct entry_ref again = *ref;

    again.box = entry_box_ref(ref->box);
    return again;
}

static int64_t add_ms(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t entry_slid_expires_ms(const struct entry *e, int64_t was_ms, int64_t now_ms)
{
    int64_t expires = add_ms(now_ms, e->sliding_ms);

    if (e->sliding_ms <= 0 || now_ms >= was_ms)
        return was_ms;
    if (expires > e->max_expires_ms)
        expires = e->max_expires_ms;
    return expires > was_ms ? expires : was_ms;
}

/* Without remembering when they were told last: by the tenths of its lifetime that lie on the clock. */
bool entry_slid_far(const struct entry *e, int64_t was_ms, int64_t is_ms)
{
    int64_t part = e->sliding_ms / TELL_PARTS > 0 ? e->sliding_ms / TELL_PARTS : 1;

    return is_ms > was_ms && is_ms / part != was_ms / part;
}

void entry_ref_slide(struct entry_ref *ref, int64_t now_ms)
{
    int64_t to = entry_slid_expires_ms(ref->entry, ref->expires_ms, now_ms);

    ref->slid_far = entry_slid_far(ref->entry, ref->expires_ms, to);
    ref->expires_ms = to;
}

void entry_ref_release(struct entry_ref *ref)
{
    if (!ref->entry)
        return;
    if (ref->box) {
        entry_box_unref(ref->box);
        *ref = (struct entry_ref){0};
    } else {
        store_mem_release(ref);
    }
}
