#include "refrain/base/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/log.h"
#include "refrain/base/process.h"

enum metric_type { TYPE_COUNTER, TYPE_GAUGE, TYPE_CALL, TYPE_CPU };
enum metric_unit { UNIT_ONE, UNIT_NANO };

static const struct metric_row {
    const char *name, *help;
    enum metric_type type;
    enum metric_unit unit;
    enum metric_label label[2];
    unsigned at, width;
} rows[] = {
#define METRIC_X(id, type, name, a, b, unit, help)                                                           \
    {name, help, TYPE_##type, UNIT_##unit, {LABEL_##a, LABEL_##b}, METRIC_AT_##id, METRIC_WIDTH_##type},
    METRICS(METRIC_X)
#undef METRIC_X
};

static const struct label_row {
    const char *name;
    unsigned max;
} label_rows[] = {
#define METRIC_X(id, name, max) {name, max},
    METRIC_LABELS(METRIC_X)
#undef METRIC_X
};

static const char *const result_names[] = {"hit",         "miss",   "coalesced", "stale",
                                           "revalidated", "bypass", "error"};
static const char *const tier_names[] = {"memory", "disk", "redis"};
static const char *const eviction_names[] = {"space", "count", "expired", "replaced"};
static const char *const retry_names[] = {"connect", "reset", "timeout", "429", "502", "503", "504"};
static const char *const fleet_names[] = {"led",     "took_over", "followed", "let_go",
                                          "trouble", "cut",       "lost",     "deserted"};
static const char *const message_names[] = {"told", "heard", "foreign"};
static const char *const invalidation_names[] = {"id",        "pattern", "tag",    "operation", "model",
                                                 "namespace", "age",     "target", "all"};
static const char *const level_names[] = {"info", "warning", "error", "critical"};
static const char *const breaker_names[] = {"validation", "availability"};
static const char *const tokens_names[] = {"input", "output"};
static const char *const size_names[] = {"small", "medium", "large", "xlarge"};
/* In the order of enum metric_code, then statuses in order. 520 to 526 are Cloudflare's, 529 is Anthropic's.
 */
static const char *const code_names[] = {
    "other", "unreachable", "timeout", "protocol", "cut", "cancelled", "200", "201", "202", "203", "204",
    "205",   "206",         "207",     "300",      "301", "302",       "303", "304", "307", "308", "400",
    "401",   "402",         "403",     "404",      "405", "406",       "408", "409", "410", "411", "412",
    "413",   "414",         "415",     "416",      "417", "421",       "422", "423", "424", "425", "426",
    "428",   "429",         "431",     "451",      "499", "500",       "501", "502", "503", "504", "505",
    "507",   "511",         "520",     "521",      "522", "523",       "524", "529",
};

_Static_assert(ARRAY_LEN(result_names) == LABEL_MAX_RESULT, "a name a result");
_Static_assert(ARRAY_LEN(tier_names) == LABEL_MAX_TIER, "a name a tier");
_Static_assert(ARRAY_LEN(eviction_names) == LABEL_MAX_EVICTION, "a name a reason");
_Static_assert(ARRAY_LEN(retry_names) == LABEL_MAX_RETRY, "a name a cause");
/* As enum tier_result and enum record_result of the store have them. */
static const char *const tier_result_names[] = {"ok",   "absent", "late",    "busy",
                                                "down", "full",   "refused", "failed"};
static const char *const record_names[] = {"ok",     "short",    "corrupt",   "other_key", "future",
                                           "locked", "unsealed", "too_large", "no_memory"};
/* As enum metric_unproven and metric_client_limit. */
static const char *const admin_refusal_names[] = {"host",     "origin",    "no_token",  "wrong_token",
                                                  "too_many", "too_large", "connection"};
_Static_assert(ARRAY_LEN(admin_refusal_names) == LABEL_MAX_ADMIN_REFUSAL, "a name a reason");
static const char *const unproven_names[] = {"missing", "unknown", "several"};
static const char *const client_limit_names[] = {"requests_per_minute", "max_concurrent"};
static const char *const listener_names[] = {"proxy", "admin"};
_Static_assert(ARRAY_LEN(listener_names) == LABEL_MAX_LISTENER, "a name a listener");
_Static_assert(ARRAY_LEN(unproven_names) == LABEL_MAX_UNPROVEN, "a name a reason");
_Static_assert(ARRAY_LEN(client_limit_names) == LABEL_MAX_CLIENT_LIMIT, "a name a limit");
_Static_assert(ARRAY_LEN(tier_result_names) == LABEL_MAX_TIER_RESULT, "a name a result");
_Static_assert(ARRAY_LEN(record_names) == LABEL_MAX_RECORD, "a name a result");
_Static_assert(ARRAY_LEN(message_names) == LABEL_MAX_MESSAGE, "a name a kind");
_Static_assert(ARRAY_LEN(fleet_names) == LABEL_MAX_FLEET, "a name a result");
_Static_assert(ARRAY_LEN(invalidation_names) == LABEL_MAX_INVALIDATION, "a name a kind");
_Static_assert(ARRAY_LEN(tokens_names) == LABEL_MAX_TOKENS, "a name a kind");
_Static_assert(ARRAY_LEN(level_names) == LABEL_MAX_LEVEL, "a name a level");
_Static_assert(ARRAY_LEN(breaker_names) == LABEL_MAX_BREAKER, "a name a kind");
_Static_assert(ARRAY_LEN(size_names) == LABEL_MAX_SIZE, "a name a size");
_Static_assert(ARRAY_LEN(code_names) <= LABEL_MAX_CODE, "room for every code");

/* Upper bounds of the buckets, in nanoseconds. */
#define US(n) ((n)*INT64_C(1000))
#define MS(n) ((n)*INT64_C(1000000))
#define S(n)  ((n)*INT64_C(1000000000))
static const int64_t call_bounds[METRIC_BUCKETS] = {
    US(50),  US(100), US(250),  US(500), MS(1), US(2500), MS(5), MS(10), MS(25), MS(50), MS(100), MS(250),
    MS(500), S(1),    MS(2500), S(5),    S(10), S(20),    S(30), S(60),  S(120), S(300), S(600),  S(1800),
};
static const int64_t cpu_bounds[METRIC_BUCKETS] = {
    US(1),   US(2),   US(3),   US(5),   US(7), US(10),   US(15), US(20), US(30), US(50), US(75), US(100),
    US(150), US(250), US(500), US(750), MS(1), US(2500), MS(5),  MS(10), MS(25), MS(50), MS(75), MS(100),
};

/*
 * An interned set: values in the order they came, and an open-addressing table of value + 1 by hash. Both
 * only grow, so readers need no lock: a slot is published after the text it stands for.
 */
enum { NAMES_MAX = 100, NAMES_SLOTS = 256, NAME_BYTES_MAX = 64 };
struct names {
    pthread_mutex_t lock; /* of adding */
    atomic_uint n;
    atomic_uchar slot[NAMES_SLOTS];
    unsigned char len[NAMES_MAX];
    char text[NAMES_MAX][NAME_BYTES_MAX + 1];
};

enum { COLLECTORS_MAX = 16 };
struct metrics {
    pthread_mutex_t lock; /* of the list of blocks */
    struct metric_block *blocks;
    struct metric_block set;           /* what metrics_set brought */
    atomic_bool touched[METRIC_SLOTS]; /* by metrics_set: shown even at 0 */
    struct names upstreams, models, namespaces, operations, clients;
    unsigned named[LABEL_SETS]; /* how many values have a name by callback */
    const char *(*name[LABEL_SETS])(unsigned value);
    unsigned collectors_n;
    struct {
        void (*collect)(void *arg, struct metrics *m);
        void *arg;
    } collectors[COLLECTORS_MAX];
};

/* -- counting -- */

static const int64_t *bounds_of(const struct metric_row *row)
{
    return row->type == TYPE_CPU ? cpu_bounds : call_bounds;
}

void metric_slot_observe(struct metric_block *block, enum metric m, unsigned slot, int64_t ns)
{
    const int64_t *bounds = bounds_of(&rows[m]);
    unsigned i = 0;

    /* From the front: what is frequent is fast. */
    while (i < METRIC_BUCKETS && ns > bounds[i])
        i++;
    metric_slot_add(block, slot + i, 1);
    metric_slot_add(block, slot + METRIC_BUCKETS + 1, ns > 0 ? (uint64_t)ns : 0);
}

struct sketch *metric_slot_sketch(struct metric_block *block, unsigned slot)
{
    struct sketch *s = calloc(1, sizeof(*s));

    atomic_store_explicit(&block->time[slot], s, memory_order_release);
    return s;
}

struct metrics *metrics_new(void)
{
    struct metrics *m = aligned_alloc(_Alignof(struct metrics), sizeof(*m));

    if (!m)
        abort();
    memset(m, 0, sizeof(*m));
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->upstreams.lock, NULL);
    pthread_mutex_init(&m->clients.lock, NULL);
    pthread_mutex_init(&m->models.lock, NULL);
    pthread_mutex_init(&m->namespaces.lock, NULL);
    pthread_mutex_init(&m->operations.lock, NULL);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    while (m->blocks) {
        struct metric_block *block = m->blocks;

        m->blocks = block->next;
        for (unsigned i = 0; i < TIME_SLOTS; i++)
            free(atomic_load(&block->time[i]));
        free(block);
    }
    free(m);
}

struct metric_block *metrics_block(struct metrics *m)
{
    struct metric_block *block = aligned_alloc(_Alignof(struct metric_block), sizeof(*block));

    if (!block)
        abort();
    memset(block, 0, sizeof(*block));
    pthread_mutex_lock(&m->lock);
    block->next = m->blocks;
    m->blocks = block;
    pthread_mutex_unlock(&m->lock);
    return block;
}

void metrics_slot_set(struct metrics *m, unsigned slot, uint64_t value)
{
    atomic_store_explicit(&m->set.slot[slot], value, memory_order_relaxed);
    atomic_store_explicit(&m->touched[slot], true, memory_order_relaxed);
}

uint64_t metrics_slot_sum(struct metrics *m, unsigned slot)
{
    uint64_t sum = atomic_load_explicit(&m->set.slot[slot], memory_order_relaxed);

    pthread_mutex_lock(&m->lock);
    for (const struct metric_block *b = m->blocks; b; b = b->next)
        sum += atomic_load_explicit(&b->slot[slot], memory_order_relaxed);
    pthread_mutex_unlock(&m->lock);
    return sum;
}

bool metrics_slot_times(struct metrics *m, unsigned slot, struct sketch *into)
{
    bool any = false;

    pthread_mutex_lock(&m->lock);
    for (struct metric_block *b = m->blocks; b; b = b->next) {
        const struct sketch *s = atomic_load_explicit(&b->time[slot], memory_order_acquire);

        if (!s)
            continue;
        sketch_merge(into, s);
        any = true;
    }
    pthread_mutex_unlock(&m->lock);
    return any;
}

bool metrics_slot_is_timed(struct metrics *m, unsigned slot)
{
    bool any = false;

    pthread_mutex_lock(&m->lock);
    for (struct metric_block *b = m->blocks; b && !any; b = b->next)
        any = atomic_load_explicit(&b->time[slot], memory_order_relaxed) != NULL;
    pthread_mutex_unlock(&m->lock);
    return any;
}

void metrics_on_scrape(struct metrics *m, void (*collect)(void *arg, struct metrics *m), void *arg)
{
    assert(m->collectors_n < COLLECTORS_MAX);
    m->collectors[m->collectors_n].collect = collect;
    m->collectors[m->collectors_n].arg = arg;
    m->collectors_n++;
}

/* -- labels -- */

static uint64_t load_bytes(const char *p, size_t n)
{
    uint64_t w = 0;

    memcpy(&w, p, n);
    return w;
}

/* Not against an adversary: at worst, all of at most 100 names are compared. */
static unsigned hash(struct slice s)
{
    uint64_t h = s.len * UINT64_C(0x9E3779B97F4A7C15);

    for (; s.len >= 8; s = slice_skip(s, 8))
        h = (h ^ load_bytes(s.data, 8)) * UINT64_C(0xFF51AFD7ED558CCD), h ^= h >> 32;
    if (s.len > 0)
        h = (h ^ load_bytes(s.data, s.len)) * UINT64_C(0xFF51AFD7ED558CCD), h ^= h >> 32;
    return (unsigned)h;
}

/* The value of @text, or -1 and in @out_slot where it belongs. */
static int names_find(struct names *names, struct slice text, unsigned *out_slot)
{
    for (unsigned i = hash(text) % NAMES_SLOTS;; i = (i + 1) % NAMES_SLOTS) {
        unsigned value = atomic_load_explicit(&names->slot[i], memory_order_acquire);

        if (value == 0) {
            *out_slot = i;
            return -1;
        }
        value--;
        if (names->len[value] == text.len && memcmp(names->text[value], text.data, text.len) == 0)
            return (int)value;
    }
}

static unsigned names_add(struct names *names, struct slice text)
{
    unsigned slot = 0;
    int value;

    pthread_mutex_lock(&names->lock);
    value = names_find(names, text, &slot); /* another thread may have been quicker */
    if (value < 0 && names->n < NAMES_MAX) {
        value = (int)names->n;
        names->len[value] = (unsigned char)text.len;
        memcpy(names->text[value], text.data, text.len);
        atomic_store_explicit(&names->slot[slot], (unsigned char)(value + 1), memory_order_release);
        names->n++;
    }
    pthread_mutex_unlock(&names->lock);
    return value < 0 ? NAMES_MAX : (unsigned)value;
}

static struct names *names_of(struct metrics *m, enum metric_label set)
{
    switch (set) {
    case LABEL_UPSTREAM:
        return &m->upstreams;
    case LABEL_MODEL:
        return &m->models;
    case LABEL_NAMESPACE:
        return &m->namespaces;
    case LABEL_OPERATION:
        return &m->operations;
    case LABEL_CLIENT:
        return &m->clients;
    default:
        return NULL;
    }
}

unsigned metrics_label(struct metrics *m, enum metric_label set, struct slice text)
{
    struct names *names = names_of(m, set);
    unsigned slot;
    int value;

    assert(names);
    if (text.len == 0 || text.len > NAME_BYTES_MAX)
        return label_rows[set].max - 1;
    value = names_find(names, text, &slot);
    if (value < 0) /* one that is called so would be a second series of that name */
        value = slice_eq(text, SLICE_OF("other")) ? NAMES_MAX : (int)names_add(names, text);
    return value == NAMES_MAX ? label_rows[set].max - 1 : m->named[set] + (unsigned)value;
}
_Static_assert(LABEL_MAX_OPERATION > NAMES_MAX + 1, "some are named, the rest interned");
_Static_assert(LABEL_MAX_UPSTREAM == NAMES_MAX + 1 && LABEL_MAX_MODEL == NAMES_MAX + 1 &&
                   LABEL_MAX_NAMESPACE == NAMES_MAX + 1,
               "the last one is `other`");

unsigned metric_code(unsigned status)
{
    const char text[] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                         (char)('0' + status % 10), 0};

    for (unsigned i = CODE_STATUS; status < 1000 && i < ARRAY_LEN(code_names); i++)
        if (strcmp(code_names[i], text) == 0)
            return i;
    return CODE_OTHER;
}

void metrics_name_labels(struct metrics *m, enum metric_label set, unsigned n,
                         const char *(*name)(unsigned value))
{
    assert((set == LABEL_OPERATION || set == LABEL_REASON || set == LABEL_ALERT) && n <= label_rows[set].max);
    assert(set != LABEL_OPERATION || n < label_rows[set].max - NAMES_MAX);
    m->named[set] = n;
    m->name[set] = name;
}

const char *metrics_label_text(struct metrics *m, enum metric_label set, unsigned value)
{
    static const struct {
        const char *const *names;
        size_t n;
    } fixed[LABEL_SETS] = {
        [LABEL_RESULT] = {result_names, ARRAY_LEN(result_names)},
        [LABEL_TIER] = {tier_names, ARRAY_LEN(tier_names)},
        [LABEL_EVICTION] = {eviction_names, ARRAY_LEN(eviction_names)},
        [LABEL_SIZE] = {size_names, ARRAY_LEN(size_names)},
        [LABEL_RETRY] = {retry_names, ARRAY_LEN(retry_names)},
        [LABEL_TIER_RESULT] = {tier_result_names, ARRAY_LEN(tier_result_names)},
        [LABEL_RECORD] = {record_names, ARRAY_LEN(record_names)},
        [LABEL_ADMIN_REFUSAL] = {admin_refusal_names, ARRAY_LEN(admin_refusal_names)},
        [LABEL_UNPROVEN] = {unproven_names, ARRAY_LEN(unproven_names)},
        [LABEL_LISTENER] = {listener_names, ARRAY_LEN(listener_names)},
        [LABEL_CLIENT_LIMIT] = {client_limit_names, ARRAY_LEN(client_limit_names)},
        [LABEL_MESSAGE] = {message_names, ARRAY_LEN(message_names)},
        [LABEL_FLEET] = {fleet_names, ARRAY_LEN(fleet_names)},
        [LABEL_TOKENS] = {tokens_names, ARRAY_LEN(tokens_names)},
        [LABEL_BREAKER] = {breaker_names, ARRAY_LEN(breaker_names)},
        [LABEL_LEVEL] = {level_names, ARRAY_LEN(level_names)},
        [LABEL_INVALIDATION] = {invalidation_names, ARRAY_LEN(invalidation_names)},
        [LABEL_CODE] = {code_names, ARRAY_LEN(code_names)},
    };
    const struct names *names = names_of(m, set);

    if (fixed[set].names)
        return value < fixed[set].n ? fixed[set].names[value] : NULL;
    if (value < m->named[set])
        return m->name[set](value);
    if (!names)
        return NULL;
    if (value == label_rows[set].max - 1)
        return "other";
    value -= m->named[set];
    return value < atomic_load(&names->n) ? names->text[value] : NULL;
}

/* -- exposition -- */

/* A label value: backslash, quote and line feed are escaped, nothing else (the format's own rules, not
 * JSON's). */
static int write_escaped(struct buf *out, struct slice text)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < text.len; i++) {
        char c = text.data[i];

        if (c == '\\' || c == '"')
            r = buf_add_byte(out, '\\');
        if (r == 0)
            r = c == '\n' ? buf_add(out, "\\n", 2) : buf_add_byte(out, c);
    }
    return r;
}

static int write_labels(struct metrics *m, struct buf *out, const struct metric_row *row, unsigned series,
                        const char *le)
{
    unsigned value[2] = {series / label_rows[row->label[1]].max, series % label_rows[row->label[1]].max};
    const char *before = "{";
    int r = 0;

    for (int i = 0; r == 0 && i < 2; i++) {
        if (row->label[i] == LABEL_NONE)
            continue;
        r = buf_addf(out, "%s%s=\"", before, label_rows[row->label[i]].name);
        if (r == 0)
            r = write_escaped(out, slice_str(metrics_label_text(m, row->label[i], value[i])));
        if (r == 0)
            r = buf_add_byte(out, '"');
        before = ",";
    }
    if (r == 0 && le) {
        r = buf_addf(out, "%sle=\"%s\"", before, le);
        before = ",";
    }
    return r == 0 && *before == ',' ? buf_add_byte(out, '}') : r;
}

/* Exact, without a floating point number in between: a sum of nanoseconds outgrows a double's digits. */
static int write_number(struct buf *out, int64_t n, enum metric_unit unit)
{
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    const char *sign = n < 0 ? "-" : "";

    if (unit == UNIT_ONE)
        return buf_addf(out, " %s%llu\n", sign, (unsigned long long)left);
    return buf_addf(out, " %s%llu.%09llu\n", sign, (unsigned long long)(left / 1000000000),
                    (unsigned long long)(left % 1000000000));
}

static int write_line(struct metrics *m, struct buf *out, const struct metric_row *row, unsigned series,
                      const char *suffix, const char *le, int64_t number, enum metric_unit unit)
{
    int r = buf_addf(out, "%s%s", row->name, suffix);

    if (r == 0)
        r = write_labels(m, out, row, series, le);
    return r == 0 ? write_number(out, number, unit) : r;
}

static int write_histogram(struct metrics *m, struct buf *out, const struct metric_row *row, unsigned series)
{
    const int64_t *bounds = bounds_of(row);
    unsigned at = row->at + series * row->width;
    uint64_t count = 0;
    char le[32];
    int r = 0;

    for (unsigned i = 0; r == 0 && i <= METRIC_BUCKETS; i++) {
        count += metrics_slot_sum(m, at + i);
        if (i < METRIC_BUCKETS)
            (void)snprintf(le, sizeof(le), "%g", (double)bounds[i] / 1e9);
        r = write_line(m, out, row, series, "_bucket", i < METRIC_BUCKETS ? le : "+Inf", (int64_t)count,
                       UNIT_ONE);
    }
    if (r == 0)
        r = write_line(m, out, row, series, "_sum", NULL,
                       (int64_t)metrics_slot_sum(m, at + METRIC_BUCKETS + 1), row->unit);
    return r == 0 ? write_line(m, out, row, series, "_count", NULL, (int64_t)count, UNIT_ONE) : r;
}

/* A series is shown once it was touched; one without labels always. */
static bool is_shown(struct metrics *m, const struct metric_row *row, unsigned series)
{
    unsigned at = row->at + series * row->width, b = label_rows[row->label[1]].max;

    for (int i = 0; i < 2; i++)
        if (row->label[i] != LABEL_NONE &&
            !metrics_label_text(m, row->label[i], i == 0 ? series / b : series % b))
            return false;
    if (row->label[0] == LABEL_NONE || atomic_load_explicit(&m->touched[at], memory_order_relaxed))
        return true;
    for (unsigned i = 0; i < row->width; i++)
        if (metrics_slot_sum(m, at + i) != 0)
            return true;
    return false;
}

static int write_row(struct metrics *m, struct buf *out, const struct metric_row *row)
{
    static const char *const type_names[] = {"counter", "gauge", "histogram", "histogram"};
    unsigned n = label_rows[row->label[0]].max * label_rows[row->label[1]].max;
    int r =
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, type_names[row->type]);

    for (unsigned series = 0; r == 0 && series < n; series++) {
        if (!is_shown(m, row, series))
            continue;
        if (row->width > 1)
            r = write_histogram(m, out, row, series);
        else
            r = write_line(m, out, row, series, "", NULL, (int64_t)metrics_slot_sum(m, row->at + series),
                           row->unit);
    }
    return r;
}

/* Names and meaning as Prometheus' own client libraries have them. */
static int write_process(struct buf *out)
{
    struct process_stat p;
    int r;

    if (process_stat_read(&p) < 0)
        return 0; /* no /proc: no figures */
    const struct {
        const char *name, *type, *help;
        double value;
    } figures[] = {
        {"process_cpu_seconds_total", "counter", "User and system CPU time spent, in seconds.", p.cpu_s},
        {"process_resident_memory_bytes", "gauge", "Resident memory size, in bytes.",
         (double)p.resident_bytes},
        {"process_virtual_memory_bytes", "gauge", "Virtual memory size, in bytes.", (double)p.virtual_bytes},
        {"process_open_fds", "gauge", "Open file descriptors.", (double)p.fds_open},
        {"process_max_fds", "gauge", "File descriptors that may be open.", (double)p.fds_max},
        {"process_start_time_seconds", "gauge", "Start time, in seconds since the epoch.", p.start_s},
        {"process_threads", "gauge", "Threads.", (double)p.threads},
    };
    r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(figures); i++)
        r = buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", figures[i].name, figures[i].help,
                     figures[i].name, figures[i].type, figures[i].name, figures[i].value);
    return r;
}

void metrics_collect(struct metrics *m)
{
    metrics_set(m, LOG_LINES_DROPPED, log_lines_dropped());
    for (unsigned i = 0; i < m->collectors_n; i++)
        m->collectors[i].collect(m->collectors[i].arg, m);
}

int metrics_write(struct metrics *m, struct buf *out)
{
    int r = 0;

    metrics_collect(m);
    for (size_t i = 0; r == 0 && i < ARRAY_LEN(rows); i++)
        r = write_row(m, out, &rows[i]);
    if (r == 0)
        r = buf_addf(out,
                     "# HELP refrain_build_info Always 1; the labels tell what is running.\n"
                     "# TYPE refrain_build_info gauge\nrefrain_build_info{version=\"%s\"} 1\n",
                     REFRAIN_VERSION);
    return r == 0 ? write_process(out) : r;
}
