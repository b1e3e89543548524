#include "refrain/store/inventory.h"

#include <stdlib.h>
#include <time.h>

#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/base/hex.h"

enum { DEADLINE_MS = 10 * 1000, PAGE = 100, STEPS_A_REST = 16, REST_NS = 10 * 1000 };

/* -- cursors: STAGE.SHARD.LEFT of memory, STAGE.HEX of a lower tier -- */

static bool read_number(struct slice text, uint32_t *out)
{
    uint64_t n = 0;

    if (text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = (uint32_t)n;
    return n <= UINT32_MAX;
}

static bool read_hex(struct slice text, struct buf *out)
{
    if (text.len % 2 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 2) {
        int byte = hex_byte_lower(text.data + i);

        if (byte < 0 || buf_add_byte(out, (char)byte) < 0)
            return false;
    }
    return true;
}

bool inventory_resume(struct inventory *v, struct slice cursor)
{
    struct slice stage = slice_cut(&cursor, '.'), shard;

    v->at.max = INVENTORY_CURSOR_MAX;
    if (!read_number(stage, &v->stage) || v->stage > INVENTORY_LOWER_MAX || !cursor.data)
        return false;
    if (v->stage > 0)
        return read_hex(cursor, &v->at);
    shard = slice_cut(&cursor, '.');
    return cursor.data && read_number(shard, &v->walk.shard) && read_number(cursor, &v->walk.left);
}

static void write_cursor(struct inventory *v)
{
    int r;

    v->cursor.max = 2 * INVENTORY_CURSOR_MAX + 16;
    if (v->stage == 0) {
        r = buf_addf(&v->cursor, "0.%u.%u", v->walk.shard, v->walk.left);
    } else {
        r = buf_addf(&v->cursor, "%u.", v->stage);
        for (size_t i = 0; r == 0 && i < v->at.len; i++)
            r = buf_addf(&v->cursor, "%02x", (unsigned char)v->at.data[i]);
    }
    if (r < 0)
        buf_clear(&v->cursor);
}

/* -- what all stages have in common -- */

static bool is_full(const struct inventory *v)
{
    return v->items_max > 0 && v->items >= v->items_max;
}

static bool has_stopped(const struct inventory *v)
{
    return atomic_load(&v->place->stopped);
}

static void give(struct inventory *v, const struct inventory_item *item)
{
    if (item->label.family || !selector_matches(&v->which, &item->label))
        return;
    v->items++;
    v->on_item(v, item);
}

static void on_back(struct loop_msg *m)
{
    struct inventory *v = CONTAINER_OF(m, struct inventory, msg);

    v->on_done(v);
}

static void send_back(struct inventory *v)
{
    v->msg.on_msg = on_back;
    loop_post(v->loop, &v->msg);
}

/* -- lower tiers; on the store thread -- */

static void stage_run(struct inventory *v);

static enum metric_tier kind_of(const struct inventory *v)
{
    return v->place->lower[v->stage - 1]->tier->ops->kind;
}

static bool is_in_memory(const struct inventory *v, const struct digest *key)
{
    struct entry_ref ref;

    if (v->twice || !v->in[TIER_MEMORY] || !v->place->memory ||
        !store_mem_peek(v->place->memory, key, clock_wall_ms(), &ref))
        return false;
    store_mem_release(&ref);
    return true;
}

static void on_scanned(struct tier_scan *scan, const struct tier_item *item, struct blob *blob)
{
    struct inventory *v = CONTAINER_OF(scan, struct inventory, scan);
    struct inventory_item one = {
        .label = item->label, .tier = kind_of(v), .blob = blob, .gone_ms = item->gone_ms};

    if (!is_in_memory(v, &item->label.key))
        give(v, &one);
}

static void stage_next(struct inventory *v)
{
    buf_clear(&v->at);
    v->stage++;
    v->stage_ends_ms = 0;
}

static void on_page(struct tier_op *op)
{
    struct inventory *v = CONTAINER_OF(op, struct inventory, scan.op);

    if (op->result != TIER_OK || v->at.len == 0) {
        v->result[kind_of(v)] = op->result;
        stage_next(v);
    } else if (!is_full(v) && clock_mono_ms() >= v->stage_ends_ms) {
        v->result[kind_of(v)] = TIER_LATE;
        stage_next(v);
    }
    stage_run(v);
}

static void ask(struct inventory *v)
{
    struct tier_port *port = v->place->lower[v->stage - 1];
    uint64_t left = v->items_max > v->items ? v->items_max - v->items : 0;

    if (v->stage_ends_ms == 0)
        v->stage_ends_ms = clock_mono_ms() + (v->deadline_ms > 0 ? v->deadline_ms : DEADLINE_MS);
    v->at.max = INVENTORY_CURSOR_MAX;
    v->scan = (struct tier_scan){
        .op = {.on_done = on_page, .deadline_ms = v->stage_ends_ms - clock_mono_ms()},
        .which = &v->which,
        .wants_blobs = v->wants_blobs,
        .page_max = left > 0 && left < PAGE ? (size_t)left : PAGE,
        .cursor = &v->at,
        .on_item = on_scanned,
    };
    if (v->scan.op.deadline_ms < 1)
        v->scan.op.deadline_ms = 1;
    port->tier->ops->scan(port, &v->scan);
}

static void stage_run(struct inventory *v)
{
    while (v->stage <= v->place->lower_n && !v->in[kind_of(v)])
        stage_next(v);
    if (v->stage > v->place->lower_n) {
        send_back(v);
    } else if (is_full(v) || has_stopped(v)) {
        write_cursor(v);
        send_back(v);
    } else {
        ask(v);
    }
}

static void on_at_store(struct loop_msg *m)
{
    stage_run(CONTAINER_OF(m, struct inventory, msg));
}

/* -- memory; on the pool -- */

static void see(void *arg, const struct store_mem_seen *seen)
{
    struct inventory *v = arg;
    struct inventory_item one = {
        .label = label_of(seen->entry), .tier = TIER_MEMORY, .seen = seen, .gone_ms = seen->gone_ms};

    if (clock_wall_ms() < seen->gone_ms)
        give(v, &one);
}

/* The lock of a shard goes to whoever takes it first, and who has just let it go is quickest: who waits for
 * it is given time to wake up. */
static void rest(void)
{
    const struct timespec moment = {0, REST_NS};

    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

static void on_memory_work(struct loop_work *w)
{
    struct inventory *v = CONTAINER_OF(w, struct inventory, work);
    bool more = v->stage == 0 && v->in[TIER_MEMORY] && v->place->memory;

    for (unsigned step = 1; more && !is_full(v); step++) {
        more = store_mem_walk(v->place->memory, &v->walk, see, v);
        if (step % STEPS_A_REST == 0)
            rest();
    }
    if (v->stage == 0 && !more)
        stage_next(v);
}

static void on_memory_done(struct loop_work *w)
{
    struct inventory *v = CONTAINER_OF(w, struct inventory, work);
    bool below = v->stage > 0 && v->stage <= v->place->lower_n && v->place->loop;

    if (below && !has_stopped(v)) {
        v->msg.on_msg = on_at_store;
        loop_post(v->place->loop, &v->msg);
        return;
    }
    if (v->stage == 0 || below)
        write_cursor(v);
    v->on_done(v);
}

void inventory_start(struct inventory *v)
{
    v->work = (struct loop_work){.on_work = on_memory_work, .on_done = on_memory_done};
    loop_work_start(v->loop, &v->work);
}

void inventory_done(struct inventory *v)
{
    buf_done(&v->cursor);
    buf_done(&v->at);
}
