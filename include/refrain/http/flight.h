/*
 * flight - one fetch, many readers: whoever asks what is already being asked joins, gets every byte from the
 * first, and owes nothing to the one who came before. SPEC section 7.
 *
 *   readers (exchanges, on any worker) ──► flight: head, chunks ◄── producer (one fetch, on one worker)
 *
 * A flight holds one append-only run of chunks; each reader has a cursor of its own. A reader that has read
 * all waits and is called on its own loop when there is more. The flight lives while it has a reader or a
 * producer; it is in the table, where others find it, only while they may join.
 *
 * Life: opened by the first reader → the producer sets the head → publishes it (a stream at once, a whole
 * answer when it is whole) → ends it. Past bytes_max it takes no new reader, its consumed chunks are freed
 * and it keeps the pace of its slowest reader; so does a flight that was never to be shared.
 *
 * Threads: the table and the flights from any thread; a reader's functions on its loop's thread, a producer's
 * on the producer's. Locks: table shard before flight; neither is held over I/O or a callback.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/base/list.h"
#include "refrain/base/loop.h"
#include "refrain/base/slice.h"
#include "refrain/http/chunks.h"
#include "refrain/http/limits.h"
#include "refrain/policy/gate.h"
#include "refrain/store/entry_ref.h"
#include "refrain/wire/dialect.h"
#include "refrain/wire/header.h"

struct flights; /* the table */
struct flight;

struct flight_conf {
    size_t bytes_max;      /* a shared flight buffers no more than this */
    size_t window;         /* and a flight past it, or a lone one, about this */
    int64_t marker_ms;     /* how long an unshareable answer keeps others from queueing for its like */
    struct limits *limits; /* bytes are taken from its allowance */
};
struct flights *flights_new(const struct flight_conf *conf);
/** Every flight must have ended. NULL is fine. */
void flights_free(struct flights *t);
/** Flights under way, lone ones included, and their readers. Threads: any. */
void flights_count(const struct flights *t, uint64_t *out_flights, uint64_t *out_readers);

/* What a flight's head says; set once by the producer, immutable when a reader sees it. */
struct flight_head {
    unsigned status;
    struct fields fields; /* of the response, classified; hop-by-hop and framing are gone; NUL-terminated */
    int64_t body_len;     /* -1 when not known in advance */
    bool judged;          /* it is known whether the answer is stored, and if not, why: */
    bool stored;
    enum gate_reason reason;
    bool stream;     /* sent as it comes, its verdict known only at its end */
    int64_t came_ms; /* relayed: when it came to who asked, by the wall clock */
    bool relayed;    /* another instance has asked upstream: who opened the flight has it second-hand, too */
    bool confirmed;  /* upstream has said 304 to what was stored: this is that, brought up to date */
    bool failed;     /* there is no answer from upstream, but an error of ours: */
    enum error_code error;
    const char *error_text;
    int64_t retry_after_s; /* when to come again; 0: at any time */
};

/** True when the body is gzip-coded (RFC 9110 section 8.4.1.3), and that alone: several fields, as several
 * elements of one, are several codings. */
static inline bool flight_head_is_gzip(const struct flight_head *head)
{
    const struct field *coding = fields_only_id(&head->fields, HEADER_CONTENT_ENCODING);

    return coding &&
           (slice_ieq(coding->value, SLICE_OF("gzip")) || slice_ieq(coding->value, SLICE_OF("x-gzip")));
}

/** When to come back is about the error, which all share, not about who was told first: followers get this of
 * what is otherwise left out for them. */
static inline bool flight_field_is_advice(unsigned status, const struct field *f)
{
    return status >= 400 &&
           (field_id(f) == HEADER_RETRY_AFTER || slice_ieq(f->name, SLICE_OF("retry-after-ms")));
}

/** A sum over the very bytes that came (RFC 9530, RFC 3230, RFC 2616): it holds for no others. */
static inline bool flight_field_is_of_bytes(const struct field *f)
{
    return slice_ieq(f->name, SLICE_OF("Content-Digest")) || slice_ieq(f->name, SLICE_OF("Repr-Digest")) ||
           slice_ieq(f->name, SLICE_OF("Digest")) || slice_ieq(f->name, SLICE_OF("Content-MD5"));
}

/* -- readers -- */

struct flight_reader {
    struct loop *loop;                            /* set before joining */
    void (*on_progress)(struct flight_reader *r); /* on that loop; after it, look or read again */
    /* the flight's own from here on */
    struct flight *flight;
    struct list link;
    struct loop_msg msg;
    struct chunks_cursor cursor;
    bool opener, waiting, posted, sent_away;
    bool stays; /* what the answer varies by does not tell it from the opener */
};

enum flight_joined {
    FLIGHT_JOINED,
    FLIGHT_OPENED, /* the caller must see to it that it is produced */
    FLIGHT_MARKED, /* answers to this key were unshareable of late: open a lone one */
    FLIGHT_NO_MEMORY,
};
/**
 * Joins the flight of @key, or opens one. With @fresh it opens one in any case, and later ones join that.
 * @r is attached, but on FLIGHT_MARKED and FLIGHT_NO_MEMORY. @now_ms is monotonic.
 */
enum flight_joined flight_join(struct flights *t, const struct digest *key, bool fresh, int64_t now_ms,
                               struct flight_reader *r);
/** Joins the flight of @common if it is known to bring the answer of @variant (flight_vary): who is led to a
 * variant's key by the store finds it there. false: it is not. */
bool flight_join_variant(struct flights *t, const struct digest *common, const struct digest *variant,
                         struct flight_reader *r);
/** How many readers the flight of @key has that others may join; 0: there is none. */
unsigned flight_readers(struct flights *t, const struct digest *key);
/** Opens a flight that nobody joins, a pipe. false: no memory. */
bool flight_open_alone(struct flights *t, struct flight_reader *r);
/** The same, but all its bytes are kept, as a shared one's are, until flight_be_pipe: it may yet be stored.
 */
bool flight_open_apart(struct flights *t, struct flight_reader *r);

/** When the flight of @key that others may join was opened, as flight_seq; 0: there is none. */
int64_t flight_open_since(struct flights *t, const struct digest *key);
/**
 * Opens a flight that nobody reads: what it brings is for the store, and for those who join meanwhile. NULL
 * when one is under way, when answers to this key were unshareable of late, or without memory. The caller
 * holds it, starts its producer, and lets go by flight_release; its producer keeps at it though no reader is
 * there, so long as it sees fit.
 */
struct flight *flight_open_unread(struct flights *t, const struct digest *key, int64_t now_ms);
/** @in_store: nothing was started, as the answer is in the store after all; who joined is sent there. */
void flight_release(struct flight *f, bool in_store);

enum flight_state {
    FLIGHT_WAIT,   /* on_progress will come */
    FLIGHT_READY,  /* the head may be sent, and flight_read called */
    FLIGHT_RETRY,  /* detached: look in the store again, then join or open */
    FLIGHT_VARIES, /* only for some: flight_split_of tells for whom. Call flight_stay, or leave */
    FLIGHT_BELOW,  /* upstream was not asked: flight_take_found, and judge it */
};
enum flight_state flight_look(struct flight_reader *r, const struct flight_head **out_head);

/**
 * After FLIGHT_BELOW: holds what a tier below memory had, and detaches. The opener gets back the request body
 * that the producer had taken, with its allowance: @body and *@charged stay as they are for anyone else.
 */
void flight_take_found(struct flight_reader *r, struct entry_ref *out, struct buf *body, size_t *charged);

/* Whom an answer is for that varies (policy/vary.h). */
struct flight_split {
    struct slice names, id; /* of the variants */
    struct digest key;      /* of the variant that is coming */
};
/** After FLIGHT_VARIES; valid while @r is attached. */
const struct flight_split *flight_split_of(const struct flight_reader *r);
/** After FLIGHT_VARIES: @r asks for the variant that is coming. Offer terms again, then look again. */
void flight_stay(struct flight_reader *r);

enum { FLIGHT_READ_WAIT = 0, FLIGHT_READ_END = -1, FLIGHT_READ_CUT = -2 };
/** Copies up to @cap bytes at the cursor; or FLIGHT_READ_WAIT (on_progress will come), _END, _CUT. */
int64_t flight_read(struct flight_reader *r, char *buf, size_t cap);

/**
 * Leaves; the last one to leave has the producer told. Harmless on a detached reader.
 * false: a call to on_progress is still on its way, and @r must live until then.
 */
bool flight_leave(struct flight_reader *r);
/** The opener's: it has found the answer in the store after all. Whoever joined is sent there; @r is
 * detached. */
void flight_give_up(struct flight_reader *r);
/** True when all of a whole answer lies in one piece, none of it read yet: @out has it then, for as long as
 * @r stays. */
bool flight_in_one_piece(struct flight_reader *r, struct slice *out);
/** True when @r has read up to an end that the producer has marked: nothing that matters is still to come. */
bool flight_has_all(struct flight_reader *r);
static inline bool flight_attached(const struct flight_reader *r)
{
    return r->flight != NULL;
}

/* What a stored answer shall have: given by the opener, else by the first reader that is allowed to write. */
struct flight_terms {
    int64_t ttl_s;                                      /* -1: as configured; ASK_TTL_NONE: for ever */
    int64_t stale_while_revalidate_s, stale_if_error_s; /* where upstream has no say, or says nothing */
    struct slice tags;                                  /* comma-separated */
};
/** Offers terms, from the reader's side. The opener's hold, where it offers any before flight_produce; else
 * those of the first offer, if whoever made it stays with the variant. Copies. */
void flight_offer(struct flight_reader *r, const struct flight_terms *terms);
/** The same from the side of who opened it unread. */
void flight_offer_unread(struct flight *f, const struct flight_terms *terms);

/** What came of an answer that was sent before its verdict was known: once flight_read has said _END. */
enum gate_reason flight_verdict(struct flight_reader *r);
/* What the answer cost by upstream's own word; 0: not told. */
struct flight_tokens {
    uint64_t in, out;
    uint64_t cached, written; /* of @in: from upstream's prompt cache, and into it */
};
/** As far as is known; all, once flight_read has said _END or flight_has_all is true. @r is attached. */
struct flight_tokens flight_tokens(struct flight_reader *r);
/* What upstream took for the answer, by the monotonic clock in nanoseconds; 0: not known. */
struct flight_times {
    int64_t asked_ns;    /* when it was asked first, … */
    int64_t answered_ns; /* … and when its last word came; only when it has, or flight_has_all is true */
    int64_t spared_ns;   /* what it would have taken longer to say all that it merely confirmed */
};
/** What is known by now. @r is attached. */
struct flight_times flight_times(struct flight_reader *r);
/** The id of the entry that it was stored as; NULL when it was not, or not yet. Valid while @r is attached.
 */
const char *flight_stored_id(struct flight_reader *r);
/** Trailer fields of the answer, or NULL: once flight_read has said _END. */
const struct fields *flight_trailers(struct flight_reader *r);

/* -- the producer -- */

struct flight_producer {
    struct loop *loop;
    void (*on_event)(
        struct flight_producer *p); /* on that loop: ask flight_has_room, flight_close_abandoned */
    struct flight *flight;          /* the flight's own from here on */
    struct loop_msg msg;
    bool posted;
};
/** Takes up production of a flight just opened: holds it until flight_end. */
void flight_produce(struct flight *f, struct flight_producer *p);

int64_t flight_seq(const struct flight *f); /* order of opening, over all flights */
int64_t flights_seq(struct flights *t);     /* beyond that of each so far, below that of each to come */
/** Whatever begins from here on is later than @seq, of another instance whose clock may be ahead. */
void flights_pass(struct flights *t, int64_t seq);
const char *flight_id(const struct flight *f);           /* 32 hex digits: the entry's id to be */
const struct digest *flight_key(const struct flight *f); /* not of one that is alone */
/** It counts as opened no sooner than @seq; so does every flight to come. */
void flight_raise_seq(struct flight *f, int64_t seq);
/** Before it is published: it brings the entry of @id, 32 hex digits. */
void flight_adopt_id(struct flight *f, struct slice id);
/** Before it is published: what came so far is of no account, but whom it is told apart by. */
void flight_rewind(struct flight *f);
bool flight_is_alone(const struct flight *f);

/** Where the producer fills in the head; until it publishes nobody else looks. */
struct flight_head *flight_head_edit(struct flight *f);
/** The head, for the producer, at any time. */
const struct flight_head *flight_head(const struct flight *f);
/** A NUL-terminated copy that lives as long as the flight; {NULL, 0} when memory ran out. */
struct slice flight_keep(struct flight *f, struct slice s);

/** Where the producer keeps trailer fields, before flight_end; NULL when memory ran out. */
struct fields *flight_trailers_edit(struct flight *f);
/** The same to look at; NULL where there are none. */
const struct fields *flight_trailers_so_far(const struct flight *f);
/** false: no reader was allowed to write. @out borrows from the flight. */
bool flight_get_terms(struct flight *f, struct flight_terms *out);

/** Before it is published: the answer varies. Who waits, and who joins from here on, is asked whether it is
 * the one he wants. Once a flight; copies. false: memory ran out. */
bool flight_vary(struct flight *f, const struct flight_split *split);
/** For the producer: by what it varies, or NULL where flight_vary has not been called. */
const struct flight_split *flight_varies_by(const struct flight *f);
/** Lets readers have the head, and bytes as they come. */
void flight_publish(struct flight *f);
/** Appends bytes. 0; -EAGAIN when appended, but no more should come until flight_has_room; -ENOBUFS when the
 * allowance is spent, -ENOMEM: nothing was appended. */
int flight_append(struct flight *f, struct slice bytes);
bool flight_has_room(struct flight *f);
/** The API's terminal event is in: a reader that leaves with it has had its answer, though the message has
 * not ended. */
void flight_mark_end(struct flight *f);
/** What is known by now of what the answer cost; before flight_mark_end and flight_end. */
void flight_set_tokens(struct flight *f, struct flight_tokens tokens);
/** The same of its times, as soon as one of them is known. */
void flight_set_times(struct flight *f, const struct flight_times *times);
/** True while it has not outgrown bytes_max: everything appended is still there for storing. */
bool flight_is_complete(struct flight *f);
/** Its bytes so far, as pieces, oldest first; complete flights only. Returns how many pieces there are; at
 * most @n are written. Valid until flight_end. */
size_t flight_pieces(struct flight *f, struct slice *out, size_t n);
uint64_t flight_bytes(struct flight *f);
/** Nothing will be stored, and nobody joins any more: what is read need not be kept. For a flight apart. */
void flight_be_pipe(struct flight *f);

enum flight_let {
    FLIGHT_LET_UNSHAREABLE, /* nobody else may have this answer: those who come soon do not queue for its like
                             */
    FLIGHT_LET_KEPT,        /* the same, but it is stored, for upstream to be asked about it */
    FLIGHT_LET_ONCE,        /* nobody else may have this one */
    FLIGHT_LET_LATE, /* it takes too long: one of the others opens a new flight, the rest follow that */
};
/** Sends every reader but the opener away to look for themselves; nobody joins any more. Only a late one, and
 * one to be kept, may still be stored. @now_ms is monotonic. false: the opener has left, so nobody remains.
 */
bool flight_let_go(struct flight *f, enum flight_let why, int64_t now_ms);
/** True while it has a reader. */
bool flight_is_read(struct flight *f);
/** True when no reader is left; nobody joins any more then. */
bool flight_close_abandoned(struct flight *f);

enum flight_end {
    FLIGHT_WHOLE,    /* every byte is there */
    FLIGHT_CUT,      /* it ends here, broken; readers who have begun see it cut */
    FLIGHT_FAILED,   /* no bytes: head.error is the answer */
    FLIGHT_IN_STORE, /* the answer is in the store: everyone looks there */
    FLIGHT_FOUND,    /* a tier below memory had something: everyone judges it for himself */
};
/** Before flight_end says FLIGHT_FOUND: what was found, and the body that the opener may need again. Both are
 * the flight's then. */
void flight_set_found(struct flight *f, struct entry_ref *found, struct buf *body, size_t charged);

/** Ends production; publishes first if that was not done. @f is not the producer's any more.
 * false: a call to on_event is still on its way, and the producer must live until then. */
bool flight_end(struct flight *f, enum flight_end how, enum gate_reason verdict);
