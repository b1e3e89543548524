/*
 * admin - the operator's listener: /metrics, /healthz, /readyz. It answers from what others count and says
 * nothing of requests, answers or credentials. SPEC section 12.
 *
 * Threads: its loop's.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/loop.h"
#include "refrain/base/metrics.h"

struct admin;

struct admin_parts {
    struct metrics *metrics;
    /* Appends what /readyz says, a JSON object; false: not ready. */
    bool (*ready)(void *arg, struct buf *out);
    void *arg;
};

/** Serves on @fd, a listening non-blocking socket that becomes its own. NULL when out of memory or
 * descriptors. */
struct admin *admin_new(struct loop *l, int fd, const struct admin_parts *parts);
/** NULL is fine. */
void admin_free(struct admin *a);
/** To be called once an iteration of the loop, before it waits. */
void admin_settle(struct admin *a);
