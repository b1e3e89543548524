#include "refrain/http/slow.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct slow_ring {
    int64_t at_least_ns;
    /* As told; read beside from_ns by who is slow alone. */
    _Atomic(int64_t) typical_ns[2][LABEL_MAX_OPERATION][LABEL_MAX_RESULT];
    pthread_mutex_t lock;
    size_t n, next;
    struct slow_request at[SLOW_KEPT];
};

struct slow *slow_new(int64_t at_least_ns)
{
    struct slow *s = calloc(1, sizeof(*s));

    if (!s || !(s->ring = calloc(1, sizeof(*s->ring))))
        abort();
    s->ring->at_least_ns = at_least_ns;
    (void)pthread_mutex_init(&s->ring->lock, NULL);
    return s;
}

void slow_free(struct slow *s)
{
    if (!s)
        return;
    (void)pthread_mutex_destroy(&s->ring->lock);
    free(s->ring);
    free(s);
}

void slow_set_typical(struct slow *s, bool streamed, unsigned operation, unsigned result, int64_t typical_ns)
{
    int64_t from_ns = SLOW_TIMES * typical_ns;

    if (from_ns < s->ring->at_least_ns)
        from_ns = s->ring->at_least_ns;
    atomic_store_explicit(&s->ring->typical_ns[streamed][operation][result], typical_ns,
                          memory_order_relaxed);
    atomic_store_explicit(&s->from_ns[streamed][operation][result], from_ns, memory_order_relaxed);
}

static void name_copy(char out[SLOW_NAME_BYTES + 1], struct slice text)
{
    size_t n = text.len < SLOW_NAME_BYTES ? text.len : SLOW_NAME_BYTES;

    if (n > 0)
        memcpy(out, text.data, n);
    out[n] = '\0';
}

void slow_keep(struct slow *s, const struct slow_request *r, unsigned operation, struct slice id,
               struct slice operation_name, struct slice model, struct slice namespace_)
{
    struct slow_request made = *r;

    name_copy(made.id, id);
    name_copy(made.operation, operation_name);
    name_copy(made.model, model);
    name_copy(made.namespace_, namespace_);
    made.typical_ns =
        atomic_load_explicit(&s->ring->typical_ns[r->streamed][operation][r->result], memory_order_relaxed);
    (void)pthread_mutex_lock(&s->ring->lock);
    s->ring->at[s->ring->next] = made;
    s->ring->next = (s->ring->next + 1) % SLOW_KEPT;
    s->ring->n += s->ring->n < SLOW_KEPT;
    (void)pthread_mutex_unlock(&s->ring->lock);
}

size_t slow_list(struct slow *s, struct slow_request *out, size_t max)
{
    size_t n;

    (void)pthread_mutex_lock(&s->ring->lock);
    n = s->ring->n < max ? s->ring->n : max;
    for (size_t i = 0; i < n; i++)
        out[i] = s->ring->at[(s->ring->next + SLOW_KEPT - 1 - i) % SLOW_KEPT];
    (void)pthread_mutex_unlock(&s->ring->lock);
    return n;
}
