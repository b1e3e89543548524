/*
 * entry_ref - an entry held for reading, wherever it lies: in the memory tier, or in a box that a tier below
 * it brought. Who holds one need not care. It lies with the reader, and is not shared.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/metrics.h"
#include "refrain/store/entry_box.h"

struct entry_ref {
    const struct entry *entry; /* NULL: nothing is held */
    void *pin;                 /* the memory tier's own */
    struct entry_box *box;     /* NULL: it lies in the memory tier */
    int64_t expires_ms;        /* the entry's, moved on by sliding */
    uint64_t hits;             /* this one included */
    enum metric_tier tier;     /* which has it */
    bool slid_far;             /* this hit has moved the expiry on, by enough for store_extend */
};

/** Holds the entry in @box, which is referenced; @tier had it. */
struct entry_ref entry_ref_of_box(struct entry_box *box, enum metric_tier tier);
/** The same once more: of an entry in a box alone. */
struct entry_ref entry_ref_again(const struct entry_ref *ref);
/**
 * A hit on a boxed entry that slides and is fresh moves the expiry of this reference, as the memory tier
 * moves its own; it says slid_far when that crosses a tenth of the lifetime.
 */
void entry_ref_slide(struct entry_ref *ref, int64_t now_ms);
/** Lets go; harmless where nothing is held. */
void entry_ref_release(struct entry_ref *ref);

/** Where sliding moves the expiry of @e, from @was_ms, by a hit at @now_ms. */
int64_t entry_slid_expires_ms(const struct entry *e, int64_t was_ms, int64_t now_ms);
/** True when that is news to lower tiers: at most once in a tenth of what it slides by. */
bool entry_slid_far(const struct entry *e, int64_t was_ms, int64_t is_ms);
