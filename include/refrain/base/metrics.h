/*
 * metrics - what is counted, one row each, and its exposition in Prometheus text format (version 0.0.4).
 *
 * Each worker counts in a block of its own: an add is a plain load and store (about a nanosecond), without
 * contention; a scrape sums the blocks. Whoever is no worker uses metrics_set, or metric_add on a block that
 * it made for itself.
 *
 * Adding a metric is one line of METRICS; adding a label set one line of METRIC_LABELS. A set has a ceiling:
 * values that come from outside (models) are interned, and past the ceiling all further ones are counted as
 * "other".
 */
#pragma once
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/sketch.h"
#include "refrain/base/slice.h"

/*
 * Label sets: id, name in the exposition, how many values at most. Fixed values are those of the enums below;
 * of OPERATION, REASON and ALERT, which belong to other layers, they are named by metrics_name_labels;
 * UPSTREAM, MODEL and NAMESPACE are interned by metrics_label, and so are OPERATION's behind those named
 * (their last value is "other").
 */
#define METRIC_LABELS(X)                                                                                     \
    X(NONE, "", 1)                                                                                           \
    X(OPERATION, "operation", 140)                                                                           \
    X(RESULT, "result", 7)                                                                                   \
    X(TIER, "tier", 3)                                                                                       \
    X(UPSTREAM, "upstream", 101)                                                                             \
    X(CODE, "code", 64)                                                                                      \
    X(EVICTION, "reason", 4)                                                                                 \
    X(REASON, "reason", 32)                                                                                  \
    X(SIZE, "tier", 4)                                                                                       \
    X(MODEL, "model", 101)                                                                                   \
    X(NAMESPACE, "namespace", 101)                                                                           \
    X(TOKENS, "kind", 2)                                                                                     \
    X(ALERT, "alert", 24)                                                                                    \
    X(LEVEL, "level", 4)                                                                                     \
    X(BREAKER, "kind", 2)                                                                                    \
    X(INVALIDATION, "kind", 9)                                                                               \
    X(RETRY, "why", 7)                                                                                       \
    X(MESSAGE, "kind", 3)                                                                                    \
    X(FLEET, "result", 8)                                                                                    \
    X(TIER_RESULT, "kind", 8)                                                                                \
    X(RECORD, "why", 9)                                                                                      \
    X(CLIENT, "client", 101)                                                                                 \
    X(UNPROVEN, "why", 3)                                                                                    \
    X(ADMIN_REFUSAL, "reason", 7)                                                                            \
    X(CLIENT_LIMIT, "limit", 2)                                                                              \
    X(LISTENER, "listener", 2)

enum metric_result {
    RESULT_HIT,
    RESULT_MISS,
    RESULT_COALESCED,
    RESULT_STALE,
    RESULT_REVALIDATED,
    RESULT_BYPASS,
    RESULT_ERROR
};
/* Why the admin listener refused. */
enum metric_admin_refusal {
    REFUSED_HOST,
    REFUSED_ORIGIN,
    REFUSED_NO_TOKEN,
    REFUSED_WRONG_TOKEN,
    REFUSED_TOO_MANY,
    REFUSED_TOO_LARGE,
    REFUSED_CONNECTION,
};
/* Why a request is of none of the clients there are; by which limit one of theirs was refused. */
enum metric_unproven { UNPROVEN_MISSING, UNPROVEN_UNKNOWN, UNPROVEN_SEVERAL };
enum metric_client_limit { LIMIT_RATE, LIMIT_CONCURRENT };
enum metric_listener { LISTENER_PROXY, LISTENER_ADMIN };
enum metric_tier { TIER_MEMORY, TIER_DISK, TIER_REDIS };
enum metric_eviction { EVICTED_SPACE, EVICTED_COUNT, EVICTED_EXPIRED, EVICTED_REPLACED };
/* What a cluster flight came to, for one instance. */
enum metric_fleet {
    FLEET_LED,
    FLEET_TOOK_OVER,   /* led after the leader that it followed was gone */
    FLEET_FOLLOWED,    /* to the end */
    FLEET_LET_GO,      /* the leader's answer is not for others, or not for this one */
    FLEET_MET_TROUBLE, /* Redis did not answer: asked upstream alone, or ceased to tell */
    FLEET_WAS_CUT,     /* the leader was gone in the middle */
    FLEET_LOST,        /* another has taken over while this one led */
    FLEET_DESERTED,    /* nobody read what it led, anywhere */
};
enum metric_tokens { TOKENS_INPUT, TOKENS_OUTPUT };
enum metric_breaker { KIND_VALIDATION, KIND_AVAILABILITY };
enum metric_size { SIZE_SMALL, SIZE_MEDIUM, SIZE_LARGE, SIZE_XLARGE }; /* of a prompt: SPEC section 4 */
enum metric_message { MESSAGE_TOLD, MESSAGE_HEARD, MESSAGE_FOREIGN };  /* between instances */
/* Why an upstream call has no status; metric_code() gives the values behind them. */
enum metric_code {
    CODE_OTHER,
    CODE_UNREACHABLE,
    CODE_TIMEOUT,
    CODE_PROTOCOL,
    CODE_CUT,
    CODE_CANCELLED,
    CODE_STATUS
};

/*
 * Metrics: id, type, name, label sets, unit, help. Types: COUNTER, GAUGE, and two histograms of nanoseconds
 * that differ in their buckets: CALL (50 us to 30 min) and CPU (1 us to 100 ms). Units: ONE, or NANO (kept in
 * 1e-9, shown in whole).
 */
#define METRICS(X)                                                                                           \
    X(REQUESTS, COUNTER, "refrain_requests_total", OPERATION, RESULT, ONE,                                   \
      "Requests answered, by operation and by what the cache made of them.")                                 \
    X(NAMESPACE_REQUESTS, COUNTER, "refrain_namespace_requests_total", NAMESPACE, RESULT, ONE,               \
      "The same, by namespace.")                                                                             \
    X(REQUEST_DURATION, CALL, "refrain_request_duration_seconds", RESULT, NONE, NANO,                        \
      "Time from a request's head, its body still to come, to its answer's last byte.")                      \
    X(HITS, COUNTER, "refrain_hits_total", TIER, NONE, ONE, "Answers found, by the tier that had them.")     \
    X(ANSWERS_SAVED, COUNTER, "refrain_answers_saved_total", MODEL, NONE, ONE,                               \
      "Answers that upstream did not have to make again.")                                                   \
    X(TOKENS_SAVED, COUNTER, "refrain_tokens_saved_total", MODEL, TOKENS, ONE,                               \
      "Tokens of answers that upstream did not have to make again, by its own count.")                       \
    X(CACHED_TOKENS_SAVED, COUNTER, "refrain_cached_tokens_saved_total", MODEL, NONE, ONE,                   \
      "Those of the input among them that upstream had in its own prompt cache.")                            \
    X(COST_SAVED, COUNTER, "refrain_cost_saved_dollars_total", MODEL, NONE, NANO,                            \
      "What these tokens would have cost, in dollars, by the prices in the configuration.")                  \
    X(SECONDS_SAVED, COUNTER, "refrain_seconds_saved_total", NONE, NONE, NANO,                               \
      "Time that upstream would have taken for these answers.")                                              \
    X(UPSTREAM_REQUESTS, COUNTER, "refrain_upstream_requests_total", UPSTREAM, CODE, ONE,                    \
      "Calls to upstream, by status or by why there was none.")                                              \
    X(UPSTREAM_DURATION, CALL, "refrain_upstream_duration_seconds", NONE, NONE, NANO,                        \
      "Time from the start of an upstream call to the last byte of its answer.")                             \
    X(UPSTREAM_FIRST_BYTE, CALL, "refrain_upstream_first_byte_seconds", NONE, NONE, NANO,                    \
      "Time from the start of an upstream call to the first byte of its answer's body.")                     \
    X(ENTRIES, GAUGE, "refrain_entries", TIER, NONE, ONE, "Entries held.")                                   \
    X(BYTES, GAUGE, "refrain_bytes", TIER, NONE, ONE, "Bytes held, bookkeeping included.")                   \
    X(LIMIT_BYTES, GAUGE, "refrain_limit_bytes", TIER, NONE, ONE, "Bytes that a tier may hold.")             \
    X(EVICTIONS, COUNTER, "refrain_evictions_total", TIER, EVICTION, ONE, "Entries that had to go, by why.") \
    X(TIER_UP, GAUGE, "refrain_tier_up", TIER, NONE, ONE,                                                    \
      "1 while the tier answers, 0 while it is away or given a rest.")                                       \
    X(TIER_ERRORS, COUNTER, "refrain_tier_errors_total", TIER, TIER_RESULT, ONE,                             \
      "Questions that a tier could not answer, by why.")                                                     \
    X(TIER_OP, CALL, "refrain_tier_op_seconds", TIER, NONE, NANO,                                            \
      "Time that a tier took to look for an answer.")                                                        \
    X(TIER_BREAKER, GAUGE, "refrain_tier_breaker_state", TIER, NONE, ONE, "0 closed, 1 half-open, 2 open.")  \
    X(TIER_BREAKER_OPENED, COUNTER, "refrain_tier_breaker_opened_total", TIER, NONE, ONE,                    \
      "Times a tier was given a rest, anew after a probe included.")                                         \
    X(PROMOTED, COUNTER, "refrain_promoted_total", NONE, NONE, ONE,                                          \
      "Answers found below memory and put into it.")                                                         \
    X(TIER_SET_ASIDE, COUNTER, "refrain_tier_set_aside_total", TIER, NONE, ONE,                              \
      "Files of a tier that were damaged, or of no more use, and put out of the way.")                       \
    X(CORRUPT, COUNTER, "refrain_corrupt_total", NONE, NONE, ONE,                                            \
      "Records read that were not what was written; each was deleted.")                                      \
    X(UNREADABLE, COUNTER, "refrain_records_unreadable_total", RECORD, NONE, ONE,                            \
      "Records read that were of no use here, by why.")                                                      \
    X(COMPRESSION_RATIO, GAUGE, "refrain_compression_ratio", NONE, NONE, NANO,                               \
      "Bytes of answers before compression for each byte after it, of all compressed so far; 0: none was.")  \
    X(WRITE_QUEUE_BYTES, GAUGE, "refrain_write_queue_bytes", NONE, NONE, ONE,                                \
      "Bytes on their way to the tiers below memory.")                                                       \
    X(WRITE_QUEUE_ENTRIES, GAUGE, "refrain_write_queue_entries", NONE, NONE, ONE,                            \
      "Entries and deletions on their way to the tiers below memory.")                                       \
    X(WRITES_DROPPED, COUNTER, "refrain_writes_dropped_total", NONE, NONE, ONE,                              \
      "Writes to tiers below memory that were given up, by a full queue or by the tier.")                    \
    X(INVALIDATIONS, COUNTER, "refrain_invalidations_total", INVALIDATION, NONE, ONE,                        \
      "Invalidations that this instance was told, by what they name; those of others are theirs.")           \
    X(NOT_STORED, COUNTER, "refrain_not_stored_total", REASON, NONE, ONE, "Answers not stored, by why.")     \
    X(FLIGHTS, GAUGE, "refrain_flights", NONE, NONE, ONE, "Upstream calls under way that readers share.")    \
    X(FLIGHT_READERS, GAUGE, "refrain_flight_readers", NONE, NONE, ONE, "Readers of these calls.")           \
    X(COALESCED, COUNTER, "refrain_coalesced_total", NONE, NONE, ONE,                                        \
      "Requests answered by an upstream call that another one had begun.")                                   \
    X(CLUSTER_FLIGHTS, COUNTER, "refrain_cluster_flights_total", FLEET, NONE, ONE,                           \
      "Upstream calls agreed on by all instances, by what they came to for this one.")                       \
    X(CONNECTIONS, GAUGE, "refrain_connections", NONE, NONE, ONE, "Client connections open.")                \
    X(CONNECTIONS_ACCEPTED, COUNTER, "refrain_connections_accepted_total", NONE, NONE, ONE,                  \
      "Client connections accepted.")                                                                        \
    X(CONNECTIONS_REFUSED, COUNTER, "refrain_connections_refused_total", NONE, NONE, ONE,                    \
      "Client connections closed at once, a limit being reached.")                                           \
    X(BUFFERED_BYTES, GAUGE, "refrain_buffered_bytes", NONE, NONE, ONE,                                      \
      "Bytes of requests and of answers under way held in memory.")                                          \
    X(CREDENTIALS_SUSPENDED, GAUGE, "refrain_credentials_suspended", NONE, NONE, ONE,                        \
      "Credentials without hits, since upstream has refused them.")                                          \
    X(KEY, CPU, "refrain_key_seconds", SIZE, NONE, NANO, "Time to make a key, by size of the prompt.")       \
    X(MEMO_HITS, COUNTER, "refrain_memo_hits_total", NONE, NONE, ONE,                                        \
      "Requests whose key was known from identical bytes.")                                                  \
    X(MEMO_MISSES, COUNTER, "refrain_memo_misses_total", NONE, NONE, ONE,                                    \
      "Requests whose key had to be made.")                                                                  \
    X(UPSTREAM_RETRIES, COUNTER, "refrain_upstream_retries_total", UPSTREAM, RETRY, ONE,                     \
      "Further tries of calls to upstream, by what the one before came to.")                                 \
    X(UPSTREAM_RETRIES_DENIED, COUNTER, "refrain_upstream_retries_denied_total", UPSTREAM, NONE, ONE,        \
      "Further tries that the budget did not allow.")                                                        \
    X(BREAKER_STATE, GAUGE, "refrain_breaker_state", UPSTREAM, BREAKER, ONE,                                 \
      "0 closed, 1 half-open, 2 open; of availability the worst of all models.")                             \
    X(BREAKER_OPENED, COUNTER, "refrain_breaker_opened_total", UPSTREAM, BREAKER, ONE,                       \
      "Times a breaker opened, anew after a probe included.")                                                \
    X(BREAKER_CLOSED, COUNTER, "refrain_breaker_closed_total", UPSTREAM, BREAKER, ONE,                       \
      "Times a breaker closed again.")                                                                       \
    X(BREAKER_REFUSED, COUNTER, "refrain_breaker_refused_total", UPSTREAM, NONE, ONE,                        \
      "Calls that an open availability breaker kept from upstream.")                                         \
    X(INSTANCES, GAUGE, "refrain_instances", NONE, NONE, ONE,                                                \
      "Instances that share this Redis and were heard of lately, this one included.")                        \
    X(INSTANCES_LINKED, GAUGE, "refrain_instances_linked", NONE, NONE, ONE,                                  \
      "1 while this instance hears of what others invalidate, and has missed nothing.")                      \
    X(INSTANCE_MESSAGES, COUNTER, "refrain_instance_messages_total", MESSAGE, NONE, ONE,                     \
      "Messages between instances: told, heard, and what could not be read.")                                \
    X(INSTANCE_MESSAGES_WAITING, GAUGE, "refrain_instance_messages_waiting", NONE, NONE, ONE,                \
      "Messages that can be told only when Redis is back.")                                                  \
    X(INSTANCE_CUTS, COUNTER, "refrain_instance_cuts_total", NONE, NONE, ONE,                                \
      "Times this instance could not hear of the others any more.")                                          \
    X(INSTANCE_GAPS, COUNTER, "refrain_instance_gaps_total", NONE, NONE, ONE,                                \
      "Times invalidations were missed for good, so that memory and disk were dropped.")                     \
    X(ADMIN_REFUSED, COUNTER, "refrain_admin_refused_total", ADMIN_REFUSAL, NONE, ONE,                       \
      "Calls that the admin listener refused, and connections that were too many for it.")                   \
    X(UNAUTHORIZED, COUNTER, "refrain_unauthorized_total", UNPROVEN, NONE, ONE,                              \
      "Requests of none of the clients, by why.")                                                            \
    X(CLIENT_REQUESTS, COUNTER, "refrain_client_requests_total", CLIENT, RESULT, ONE,                        \
      "Requests answered, by client and by what the cache made of them.")                                    \
    X(CLIENT_LIMITED, COUNTER, "refrain_client_limited_total", CLIENT, CLIENT_LIMIT, ONE,                    \
      "Requests refused by a client's limits; they are errors among its requests.")                          \
    X(CLIENT_TOKENS_SAVED, COUNTER, "refrain_client_tokens_saved_total", CLIENT, TOKENS, ONE,                \
      "Tokens that hits of a client did not cost, by kind.")                                                 \
    X(ALERTS, GAUGE, "refrain_alerts", ALERT, LEVEL, ONE, "Alerts that are raised, by code and level.")      \
    X(CERTIFICATE_EXPIRY, GAUGE, "refrain_certificate_expiry_timestamp_seconds", LISTENER, NONE, ONE,        \
      "When the certificate that a listener shows expires, in seconds since the epoch.")                     \
    X(LOG_LINES_DROPPED, COUNTER, "refrain_log_lines_dropped_total", NONE, NONE, ONE,                        \
      "Log lines lost because the log could not take them.")

/*
 * Times: id, label sets. What operators are told quantiles of (SPEC section 12), beside the histograms above,
 * whose few buckets are what Prometheus wants: a sketch a pair of labels and block, made when it is first
 * used. Not in the exposition.
 *
 * REQUEST and STREAM: from a request's head to its answer's last byte, of answers asked for whole and of
 * those asked for as streams, which take as long as upstream likes to talk.
 */
#define METRIC_TIMES(X)                                                                                      \
    X(REQUEST, OPERATION, RESULT)                                                                            \
    X(STREAM, OPERATION, RESULT)                                                                             \
    X(KEY, NONE, NONE)                                                                                       \
    X(UPSTREAM, NONE, NONE)                                                                                  \
    X(UPSTREAM_FIRST_BYTE, NONE, NONE)                                                                       \
    X(TIER_GET, TIER, NONE)                                                                                  \
    X(TIER_PUT, TIER, NONE)                                                                                  \
    X(INVALIDATION, NONE, NONE)

/* -- what the tables above expand to -- */

#define METRIC_X(id, name, max) LABEL_##id,
enum metric_label { METRIC_LABELS(METRIC_X) LABEL_SETS };
#undef METRIC_X
#define METRIC_X(id, name, max) LABEL_MAX_##id = (max),
enum { METRIC_LABELS(METRIC_X) };
#undef METRIC_X

enum { METRIC_BUCKETS = 24 };
/* Slots of one series: a histogram has its buckets, the one above them all, and the sum. */
enum {
    METRIC_WIDTH_COUNTER = 1,
    METRIC_WIDTH_GAUGE = 1,
    METRIC_WIDTH_CALL = METRIC_BUCKETS + 2,
    METRIC_WIDTH_CPU = METRIC_BUCKETS + 2
};

#define METRIC_X(id, ...) METRIC_##id,
enum metric { METRICS(METRIC_X) METRIC_COUNT };
#undef METRIC_X

/* Of a metric and of a time alike: where its slots begin and end, and how many values its labels have. Each
 * pair of labels has @width slots. */
#define SLOTS_OF(what, id, a, b, width)                                                                      \
    what##_AT_##id, what##_LAST_##id = what##_AT_##id + (width) * (int)LABEL_MAX_##a * (int)LABEL_MAX_##b - 1,
#define LABELS_OF(what, id, a, b) what##_MAX_A_##id = LABEL_MAX_##a, what##_MAX_B_##id = LABEL_MAX_##b,
#define SLOT_OF(what, id, a, b, width)                                                                       \
    ((unsigned)what##_AT_##id +                                                                              \
     (metric_index((a), what##_MAX_A_##id) * what##_MAX_B_##id + metric_index((b), what##_MAX_B_##id)) *     \
         (width))

#define METRIC_X(id, type, name, a, b, unit, help) SLOTS_OF(METRIC, id, a, b, (int)METRIC_WIDTH_##type)
enum { METRICS(METRIC_X) METRIC_SLOTS };
#undef METRIC_X
#define METRIC_X(id, type, name, a, b, unit, help)                                                           \
    LABELS_OF(METRIC, id, a, b) METRIC_OF_##id = METRIC_WIDTH_##type,
enum { METRICS(METRIC_X) };
#undef METRIC_X
#define METRIC_SLOT(id, a, b) SLOT_OF(METRIC, id, a, b, METRIC_OF_##id)

#define METRIC_X(id, a, b) SLOTS_OF(TIME, id, a, b, 1)
enum { METRIC_TIMES(METRIC_X) TIME_SLOTS };
#undef METRIC_X
#define METRIC_X(id, a, b) LABELS_OF(TIME, id, a, b)
enum { METRIC_TIMES(METRIC_X) };
#undef METRIC_X
#define TIME_SLOT(id, a, b) SLOT_OF(TIME, id, a, b, 1)

/* A worker's own counts. One thread adds, any thread reads. */
struct metric_block {
    _Alignas(64) _Atomic(uint64_t) slot[METRIC_SLOTS];
    struct sketch *_Atomic time[TIME_SLOTS]; /* NULL until there is a sample */
    struct metric_block *next;
};

static inline unsigned metric_index(unsigned value, unsigned max)
{
    assert(value < max);
    return value;
}

static inline void metric_slot_add(struct metric_block *block, unsigned slot, uint64_t n)
{
    uint64_t was = atomic_load_explicit(&block->slot[slot], memory_order_relaxed);

    atomic_store_explicit(&block->slot[slot], was + n, memory_order_relaxed);
}
void metric_slot_observe(struct metric_block *block, enum metric m, unsigned slot, int64_t ns);

/*
 * Counting: metric_add2(block, REQUESTS, op, RESULT_HIT, 1). The digit is the number of labels. A gauge that
 * workers keep goes up and down by adding 1 and -1, and may do so on different blocks. Thread: the block's.
 */
#define metric_add(block, id, n)        metric_slot_add((block), METRIC_SLOT(id, 0, 0), (uint64_t)(n))
#define metric_add1(block, id, a, n)    metric_slot_add((block), METRIC_SLOT(id, (a), 0), (uint64_t)(n))
#define metric_add2(block, id, a, b, n) metric_slot_add((block), METRIC_SLOT(id, (a), (b)), (uint64_t)(n))
#define metric_observe(block, id, ns)   metric_slot_observe((block), METRIC_##id, METRIC_SLOT(id, 0, 0), (ns))
#define metric_observe1(block, id, a, ns)                                                                    \
    metric_slot_observe((block), METRIC_##id, METRIC_SLOT(id, (a), 0), (ns))

/* The sketch of a slot, made now. NULL when out of memory. */
struct sketch *metric_slot_sketch(struct metric_block *block, unsigned slot);

static inline void metric_slot_time(struct metric_block *block, unsigned slot, int64_t ns)
{
    struct sketch *s = atomic_load_explicit(&block->time[slot], memory_order_relaxed);

    if (!s)
        s = metric_slot_sketch(block, slot);
    if (s)
        sketch_add(s, ns);
}

/* Timing: metric_time2(block, REQUEST, op, RESULT_HIT, ns). Allocates with the first sample of its labels,
 * and loses samples when there is no memory. Thread: the block's. */
#define metric_time(block, id, ns)        metric_slot_time((block), TIME_SLOT(id, 0, 0), (ns))
#define metric_time1(block, id, a, ns)    metric_slot_time((block), TIME_SLOT(id, (a), 0), (ns))
#define metric_time2(block, id, a, b, ns) metric_slot_time((block), TIME_SLOT(id, (a), (b)), (ns))

struct metrics;
/** Aborts when out of memory: made at start-up. */
struct metrics *metrics_new(void);
/** Frees the blocks, too. NULL is fine. */
void metrics_free(struct metrics *m);
/** A new block of zeros for one thread; lives as long as @m. Aborts when out of memory. Threads: any. */
struct metric_block *metrics_block(struct metrics *m);

/**
 * The value of @text in an interned set (LABEL_UPSTREAM, LABEL_MODEL, LABEL_NAMESPACE; LABEL_OPERATION, once
 * its own are named): the same for the same text as long as
 * @m lives. Past the ceiling, and for a text over 64 bytes that is new, that of "other". A known text costs
 * about 10 ns and no lock. Threads: any.
 */
unsigned metrics_label(struct metrics *m, enum metric_label set, struct slice text);
/** The value for an HTTP status in LABEL_CODE; CODE_OTHER for one that no row knows. */
unsigned metric_code(unsigned status);
/** Names the @n values of LABEL_OPERATION, LABEL_REASON or LABEL_ALERT; @name returns static text. Before the
 * first scrape. */
void metrics_name_labels(struct metrics *m, enum metric_label set, unsigned n,
                         const char *(*name)(unsigned value));

/**
 * Has @collect called at the beginning of each scrape, on the scraping thread, to bring counts that are kept
 * elsewhere (a tier's own statistics) by metrics_set. At start-up; at most 16.
 */
void metrics_on_scrape(struct metrics *m, void (*collect)(void *arg, struct metrics *m), void *arg);
/* Sets a counter or gauge to a value counted elsewhere; what blocks added is added to it. Threads: any. */
#define metrics_set(m, id, value)        metrics_slot_set((m), METRIC_SLOT(id, 0, 0), (uint64_t)(value))
#define metrics_set1(m, id, a, value)    metrics_slot_set((m), METRIC_SLOT(id, (a), 0), (uint64_t)(value))
#define metrics_set2(m, id, a, b, value) metrics_slot_set((m), METRIC_SLOT(id, (a), (b)), (uint64_t)(value))
void metrics_slot_set(struct metrics *m, unsigned slot, uint64_t value);

/* The sum over all blocks now; of a histogram, the first bucket's. Threads: any. */
#define metrics_sum(m, id)        metrics_slot_sum((m), METRIC_SLOT(id, 0, 0))
#define metrics_sum1(m, id, a)    metrics_slot_sum((m), METRIC_SLOT(id, (a), 0))
#define metrics_sum2(m, id, a, b) metrics_slot_sum((m), METRIC_SLOT(id, (a), (b)))
uint64_t metrics_slot_sum(struct metrics *m, unsigned slot);

/* Adds what all blocks have of a time to a sketch; false where none has a sample. Threads: any. */
#define metrics_times(m, id, a, b, into) metrics_slot_times((m), TIME_SLOT(id, (a), (b)), (into))
bool metrics_slot_times(struct metrics *m, unsigned slot, struct sketch *into);
/** Whether there is a sample at all: sketches are large, and most labels never have one. Threads: any. */
bool metrics_slot_is_timed(struct metrics *m, unsigned slot);

/** What a value is called; NULL when it has no name and so no meaning. Lives as long as @m. Threads: any. */
const char *metrics_label_text(struct metrics *m, enum metric_label set, unsigned value);
/** Has everyone who keeps counts elsewhere bring them, as a scrape does. Threads: one at a time, scrapes
 * included. */
void metrics_collect(struct metrics *m);

/** Appends the whole exposition: rows in table order, series that were touched, and those of the process
 * itself. Errors: as buf_reserve. Threads: one at a time. */
int metrics_write(struct metrics *m, struct buf *out);
