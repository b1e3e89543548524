/*
 * store_disk_priv - what the parts of the disk tier share: the tier, its queues, one question on its way.
 *
 *   store_disk.c        ports: takes questions, answers them in time
 *   store_disk_read.c   the readers
 *   store_disk_write.c  the writer: groups; store_disk_sweep.c: removals in steps; store_disk_house.c:
 *                       keeping house
 *   store_disk_open.c   the writer, too: the file opened, put aside, taken over; what is said of it
 *   store_disk_db.c     entries and transactions, over store_disk_schema.c (whose file it is) and
 *                       store_disk_sql.c (SQLite; all statements: store_disk_statements.h)
 *   store_disk_file.c   the file system
 *
 * A job is one question. It belongs to the port's thread until it is queued, to a thread of the tier's until
 * that posts it back, then to the port's thread again, which frees it. Its question may be answered earlier,
 * by the port's timer, or by the port's end: then the job goes on without one (`op` is NULL), and a closed
 * port's is freed by the thread that has it.
 *
 * One lock, of the tier, a leaf: queues, phase, counts, and whether a job still has a port.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/list.h"
#include "refrain/store/store_disk.h"
#include "store_disk_db.h"
#include "store_disk_file.h"

enum { DISK_READERS = 2 };
/* Questions that wait at once. Removals are kept where puts are refused, so their bound is another. */
enum { DISK_READS_MAX = 1024, DISK_PUTS_MAX = 4096, DISK_REMOVALS_MAX = 16384 };

enum disk_job_kind {
    JOB_GET,
    JOB_META_GET,
    JOB_SCAN,
    JOB_PUT,
    JOB_REMOVE,
    JOB_DELETE_IF,
    JOB_META_PUT,
};

struct disk_port {
    struct tier_port port;
    struct list waiting;  /* jobs with a question, by deadline */
    struct list answered; /* jobs without one, that some thread still has */
    struct loop_timer *timer;
};

struct disk_job {
    struct list link;    /* in a queue, or in the hands of a thread */
    struct list of_port; /* in port->waiting or ->answered; the port's thread */
    struct loop_msg msg;
    atomic_uint refs;       /* its way, and each of its messages with matches */
    struct disk_port *port; /* NULL: closed; disk->lock */
    struct tier_op *op;     /* NULL: answered; the port's thread */
    atomic_bool unwanted;   /* op is answered: a read may be left */
    int64_t late_ns;        /* monotonic; constant once queued */
    enum tier_result if_late;
    enum disk_job_kind kind;
    uint64_t ticket; /* its place among all that is to be written */
    size_t bytes;    /* counted in disk->queued_bytes */
    bool only_newer, dry_run, wants_blobs, has_only;
    bool changed; /* delete_if: something was removed, and is perhaps not on the medium yet */
    struct tier_item item;
    struct selector which;
    struct slice value; /* of meta; the only record to be removed */
    struct blob *blob;  /* to be put, or found */
    struct disk_walk walk;
    struct list items; /* scan: of struct disk_item */
    /* the answer */
    enum tier_result result;
    uint64_t matched;
    size_t text_used;
    char text[]; /* behind item, which, value */
};

/* One item of a page. */
struct disk_item {
    struct list link;
    struct tier_item item;
    struct blob *blob;
    char text[];
};

/* Keys that a removal has matched, on their way. */
enum { DISK_STEP_ROWS = 256 };
struct disk_matches {
    struct loop_msg msg;
    struct disk_job *job;
    size_t n;
    struct disk_match {
        struct digest key;
        bool family;
    } found[DISK_STEP_ROWS];
};

enum disk_phase {
    PHASE_OPENING, /* questions wait */
    PHASE_OPEN,
    PHASE_FROZEN, /* reads only */
    PHASE_DOWN,
};

/* Nothing is read while something is still to be removed. */
enum disk_removals {
    REMOVALS_MADE,
    REMOVALS_WAIT, /* those that are queued could not be made so far */
    REMOVALS_LOST, /* some are not even queued: the file must go */
};

/* A row that was read, to be moved up in the order of last use. */
struct disk_touch {
    int64_t n, used;
};
enum { DISK_TOUCHES_MAX = 1024 };

struct disk {
    struct tier tier;
    struct store_disk_conf conf;
    char path[DISK_PATH_MAX];
    uint64_t log_bytes_max, log_bytes_step, record_bytes_max;
    int64_t chunk_bytes;
    pthread_t readers[DISK_READERS], writer;
    unsigned readers_n;
    bool writer_runs;
    unsigned ended_n; /* of these threads; under the lock */

    pthread_mutex_t lock;
    pthread_cond_t for_readers, for_writer, for_end; /* on the monotonic clock */
    struct list gets, scans;                         /* to be read */
    struct list writes, walks; /* to be written: at once; in steps, or in order with steps */
    size_t reads_n, puts_n, removals_n, queued_bytes;
    int64_t first_write_ns; /* since when something waits in writes */
    uint64_t tickets;
    enum disk_phase phase;
    enum disk_removals removals;
    int64_t refuse_puts_ns; /* until then there is no room for any */
    uint64_t generation;    /* of the file: connections of an older one are to be closed */
    uint64_t damaged;       /* the generation in which a reader has found damage */
    unsigned connections;   /* of readers */
    bool scan_reader;       /* one of the readers takes scans as well */
    bool stopping;
    int64_t stop_ns; /* by then the writer leaves what is still queued */
    struct tier_state state;
    struct tier_stats stats;
    struct disk_touch touches[DISK_TOUCHES_MAX];
    size_t touches_n;

    _Atomic int64_t used_middle; /* rows used before it are the older half */
    atomic_uint_fast64_t answers[TIER_RESULTS];
};

/* -- store_disk.c -- */

/** Has the job's port told: @result, and what else the job holds. Gives up the caller's reference. Threads:
 * the tier's. */
void disk_job_done(struct disk *d, struct disk_job *job, enum tier_result result);
/** The last thing that a thread of the tier does with it. */
void disk_thread_ended(struct disk *d);
/** Takes @m, whose job keeps a reference. Threads: the tier's. */
void disk_matches_post(struct disk *d, struct disk_matches *m);
void disk_job_unref(struct disk_job *job);

/** The same removal, for nobody: it goes on where its question has been answered. Threads: the writer. */
struct disk_job *disk_removal_copy(const struct disk_job *job);

/* -- store_disk_read.c -- */

void *disk_reader_main(void *disk);

/* -- store_disk_write.c, store_disk_open.c: the writer -- */

/* What is to be done about the file once no reader has it open any more. */
enum disk_reopen { REOPEN_PLAIN, REOPEN_ASIDE, REOPEN_REMOVE };

struct disk_writer {
    struct disk *disk;
    struct disk_db *db; /* NULL: not open */
    int lock_fd;        /* -1: not ours */
    struct disk_file file;
    enum disk_reopen reopen;
    const char *reopen_why;
    uint64_t page_bytes;
    uint64_t pages_max, pages_max_conf; /* as of now; as configured: less while the medium is full */
    int64_t used;                       /* the last place given in the order of use */
    int64_t retry_ns, retry_wait_ms;    /* when the file is tried again */
    int64_t room_ns, room_wait_ms;      /* when room is asked for again */
    int64_t tick_ns, dirty_ns;
    bool more; /* keeping house has more to do at once */
    bool log_held;
    bool network_told;
    /* of the transaction under way */
    uint64_t evicted, expired, replaced;
};

void *disk_writer_main(void *disk);

/** Opens the file, or says why not and when to try again. */
void disk_open(struct disk_writer *w);
/** Closes it, has the readers close theirs, and leaves the rest to disk_open. */
void disk_reopen(struct disk_writer *w, enum disk_reopen how, const char *why);
/** Closes it after an error of the system's, for some time. */
void disk_rest(struct disk_writer *w);
/** Says how the tier is; tells the operator where that is new. */
void disk_say(struct disk_writer *w, enum disk_phase phase, enum tier_health health, const char *why,
              int error);
/** The same for a file that is open and written to. */
void disk_say_open(struct disk_writer *w);
/** How a file is read in a place that cannot be written. Threads: any. */
enum disk_db_mode disk_frozen_mode(const char *path);
/** Whether what was opened is what lies there still. */
bool disk_file_is_ours(const struct disk_writer *w);
