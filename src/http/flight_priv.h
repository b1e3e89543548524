/*
 * flight, inside - what its files share:
 *
 *   flight.c           one flight: its making and freeing, whom it wakes, the pace it keeps
 *   flight_table.c     which flights there are: joining and opening them, their order
 *   flight_reader.c    a reader's side
 *   flight_producer.c  the producer's side
 *
 * The bytes are `chunks`.
 */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "refrain/http/flight.h"

enum {
    SHARDS = 64,
    BUCKETS = 256, /* a shard */
    MARKERS = 64,  /* a shard; a newer one takes the slot of an older */
    ID_BYTES = 16,
};

/* Answers to this key were for one each, of late. */
struct marker {
    struct digest key;
    int64_t until_ms; /* monotonic */
};

struct shard {
    pthread_mutex_t lock;
    struct list buckets[BUCKETS];
    struct marker markers[MARKERS];
};

struct flights {
    struct flight_conf conf;
    atomic_int_fast64_t seq;
    atomic_uint_fast64_t flights_n, readers_n;
    struct shard shards[SHARDS];
};

/* Its shard's lock comes before its own. */
struct flight {
    struct flights *table;
    struct digest key;
    struct list bucket; /* under the shard's lock; linked while others may join */
    atomic_uint refs;   /* each reader one, the producer one */
    int64_t seq;
    char id[2 * ID_BYTES + 1];
    bool alone;

    /* the producer's; each is immutable from when a reader may see it */
    struct flight_head head;   /* once published */
    struct flight_kept *kept;  /* texts of the head; freed with the flight */
    struct flight_split split; /* once it varies */
    struct fields *trailers;   /* once ended */
    struct entry_ref found;    /* once ended with FLIGHT_FOUND */
    struct buf body;           /* the same; then the opener's to take */
    size_t body_charged;

    pthread_mutex_t lock; /* of all below */
    struct list readers;
    unsigned readers_n;
    struct flight_producer *producer;

    /* how far it is */
    bool varies, published, end_marked, ended;
    enum flight_end how;
    enum gate_reason verdict;
    struct flight_tokens tokens;
    struct flight_times times;

    /* its bytes, and its pace */
    struct chunks bytes;
    bool windowed; /* it keeps no more than a window of them: nothing to store, or to join */
    bool let_go;   /* it takes no new reader */
    bool paused;   /* the producer was told to wait */

    /* what is stored shall have */
    bool terms_given, terms_of_opener;
    struct flight_terms terms;
    char *terms_tags;
};

/* -- flight.c -- */

/** Without a reference yet. @key: NULL where it is @alone. NULL: no memory. */
struct flight *flight_new(struct flights *t, const struct digest *key, bool alone);
void flight_unref(struct flight *f);

/* The flight's lock is held. */
void flight_wake_reader(struct flight_reader *r);
/** Those who wait. */
void flight_wake_readers(struct flight *f);
void flight_wake_producer(struct flight *f);
/** False while it holds as much as it may. */
bool flight_is_in_bounds(const struct flight *f);
/** Frees what every reader has behind it; only where nothing will be stored. */
void flight_trim(struct flight *f);
/** The same where a reader has moved on, or left; the producer goes on where there is room again. */
void flight_keep_pace(struct flight *f);

/* -- flight_table.c -- */

/** Nobody finds it from here on. Takes and leaves the shard's lock; the flight's must not be held. */
void flight_unlist(struct flight *f);
/** Those who come for the like of it do not queue, for conf.marker_ms. Locks as for flight_unlist. */
void flight_set_marker(struct flight *f, int64_t now_ms);

/* -- flight_reader.c -- */

/** False while it is not known whether @r asks for the variant that is coming. Under the lock. */
bool flight_may_be_for(const struct flight *f, const struct flight_reader *r);
