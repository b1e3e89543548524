/* flight: everybody gets every byte, whoever comes late or leaves early; who may join, and who is told what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/http/flight.h"

enum { BOUND = 64 * 1024, WINDOW = 8 * 1024, MARKER_MS = 10000 };

struct stage {
    struct limits *limits;
    struct flights *flights;
    struct loop *loop;
    struct digest key;
};

static int set_up(void **state)
{
    static const struct limits_conf limits = {.connections_max = 10, .buffered_bytes_max = 1 << 20};
    struct stage *s = calloc(1, sizeof(*s));
    struct flight_conf conf = {.bytes_max = BOUND, .window = WINDOW, .marker_ms = MARKER_MS};

    s->limits = conf.limits = limits_new(&limits);
    s->flights = flights_new(&conf);
    s->loop = loop_new();
    s->key.bytes[0] = 7;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;

    loop_free(s->loop);
    flights_free(s->flights);
    assert_int_equal(limits_buffered_bytes(s->limits), 0); /* every chunk was given back */
    limits_free(s->limits);
    free(s);
    return 0;
}

/* -- actors: a reader that notes how often it was called, a producer likewise -- */

struct reader {
    struct flight_reader r;
    int calls;
};

static void on_progress(struct flight_reader *r)
{
    CONTAINER_OF(r, struct reader, r)->calls++;
}

static struct reader reader_on(const struct stage *s)
{
    return (struct reader){.r = {.loop = s->loop, .on_progress = on_progress}};
}

struct producer {
    struct flight_producer p;
    int calls;
};

static void on_event(struct flight_producer *p)
{
    CONTAINER_OF(p, struct producer, p)->calls++;
}

static struct producer producer_on(const struct stage *s)
{
    return (struct producer){.p = {.loop = s->loop, .on_event = on_event}};
}

struct halt {
    struct loop_msg msg;
    struct loop *loop;
};

static void on_halt(struct loop_msg *m)
{
    loop_stop(CONTAINER_OF(m, struct halt, msg)->loop);
}

/* Delivers every message posted so far. Each test ends with it: messages lie in the test's own variables. */
static void deliver(struct stage *s)
{
    struct halt halt = {{NULL, on_halt}, s->loop};

    loop_post(s->loop, &halt.msg);
    loop_run(s->loop);
}

static enum flight_joined join(struct stage *s, struct reader *r, bool fresh, int64_t now_ms)
{
    return flight_join(s->flights, &s->key, fresh, now_ms, &r->r);
}

static void must_read(struct reader *r, const char *want)
{
    char buf[256];
    int64_t n = flight_read(&r->r, buf, sizeof(buf));

    if (n != (int64_t)strlen(want) || memcmp(buf, want, strlen(want)) != 0)
        fail_msg("wanted \"%s\", got %d bytes", want, (int)n);
}

static int64_t read_state(struct reader *r)
{
    char buf[16];

    return flight_read(&r->r, buf, sizeof(buf));
}

/* -- the tests -- */

static void readers_of_a_flight_are_counted_while_others_may_join(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct producer p = producer_on(s);
    struct flight *f;

    assert_int_equal(flight_readers(s->flights, &s->key), 0);
    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(flight_readers(s->flights, &s->key), 1);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_readers(s->flights, &s->key), 2);
    (void)flight_leave(&b.r);
    assert_int_equal(flight_readers(s->flights, &s->key), 1);
    assert_true(flight_end(f, FLIGHT_WHOLE, GATE_STORE));
    assert_int_equal(flight_readers(s->flights, &s->key), 0); /* unlisted: its answer is in the store */
    (void)flight_leave(&a.r);
    deliver(s);
}

static void a_late_joiner_gets_everything_from_the_first_byte(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct producer p = producer_on(s);
    const struct flight_head *head = NULL;
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(flight_look(&a.r, &head), FLIGHT_WAIT);
    flight_head_edit(f)->status = 200;
    flight_publish(f);
    assert_int_equal(flight_append(f, SLICE_OF("one ")), 0);

    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_READY);
    assert_int_equal(head->status, 200);
    must_read(&b, "one ");
    assert_int_equal(read_state(&b), FLIGHT_READ_WAIT);
    assert_int_equal(flight_append(f, SLICE_OF("two")), 0);
    must_read(&a, "one two");
    assert_false(flight_has_all(&a.r));
    assert_int_equal(flight_tokens(&a.r).in, 0);
    flight_set_tokens(f, (struct flight_tokens){7, 2, 5, 1});
    flight_mark_end(f);
    assert_int_equal(flight_tokens(&b.r).in, 7); /* who leaves at the end knows what it has cost */
    assert_int_equal(flight_tokens(&b.r).out, 2);
    assert_int_equal(flight_tokens(&b.r).cached, 5);
    assert_int_equal(flight_tokens(&b.r).written, 1);
    assert_true(flight_has_all(&a.r));
    assert_false(flight_has_all(&b.r));
    must_read(&b, "two");
    assert_true(flight_end(f, FLIGHT_WHOLE, GATE_STORE));
    assert_int_equal(read_state(&a), FLIGHT_READ_END);
    assert_int_equal(read_state(&b), FLIGHT_READ_END);
    assert_int_equal(flight_verdict(&b.r), GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&b.r);
    deliver(s);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    deliver(s);
}

static void the_opener_may_leave_and_nobody_is_harmed(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct producer p = producer_on(s);
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_true(flight_leave(&a.r));
    assert_false(flight_close_abandoned(f));
    flight_publish(f);
    assert_int_equal(flight_append(f, SLICE_OF("all of it")), 0);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    must_read(&b, "all of it");
    assert_int_equal(read_state(&b), FLIGHT_READ_END);
    (void)flight_leave(&b.r);
    deliver(s);
}

static void the_last_to_leave_has_the_producer_told_and_closes_the_door(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct producer p = producer_on(s);
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    (void)flight_leave(&a.r);
    deliver(s);
    assert_int_equal(p.calls, 1);
    assert_true(flight_close_abandoned(f));
    assert_int_equal(join(s, &b, false, 0), FLIGHT_OPENED); /* not the one that is being given up */
    assert_true(flight_end(f, FLIGHT_CUT, GATE_INCOMPLETE));
    flight_give_up(&b.r);
    deliver(s);
}

static void a_cut_is_seen_only_after_what_came_before_it(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s);
    struct producer p = producer_on(s);
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    flight_publish(f);
    assert_int_equal(flight_append(f, SLICE_OF("half")), 0);
    (void)flight_end(f, FLIGHT_CUT, GATE_INCOMPLETE);
    must_read(&a, "half");
    assert_int_equal(read_state(&a), FLIGHT_READ_CUT);
    (void)flight_leave(&a.r);
    deliver(s);
}

static void letting_go_sends_all_but_the_opener_away_and_marks_the_key(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s), c = reader_on(s);
    struct producer p = producer_on(s);
    const struct flight_head *head;
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_WAIT);
    assert_true(flight_let_go(f, FLIGHT_LET_UNSHAREABLE, 1000));
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_RETRY);
    assert_false(flight_attached(&b.r));
    assert_int_equal(join(s, &c, false, 1000 + MARKER_MS - 1), FLIGHT_MARKED);
    assert_int_equal(join(s, &c, false, 1000 + MARKER_MS), FLIGHT_OPENED);
    flight_give_up(&c.r);
    flight_publish(f);
    assert_int_equal(flight_look(&a.r, &head), FLIGHT_READY);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_CACHE_CONTROL);
    (void)flight_leave(&a.r);
    deliver(s);
}

static void letting_go_without_its_opener_leaves_nobody(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct producer p = producer_on(s);
    const struct flight_head *head;
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    (void)flight_leave(&a.r);
    assert_false(flight_let_go(f, FLIGHT_LET_ONCE, 0)); /* its answer was for the one who left */
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_RETRY);
    (void)flight_end(f, FLIGHT_CUT, GATE_STATUS);
    deliver(s);
}

static void a_fresh_one_takes_the_place_of_the_one_before(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s), c = reader_on(s);
    struct producer pa = producer_on(s), pb = producer_on(s);
    struct flight *fa, *fb;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    assert_int_equal(join(s, &b, true, 0), FLIGHT_OPENED);
    fa = a.r.flight;
    fb = b.r.flight;
    flight_produce(fa, &pa.p);
    flight_produce(fb, &pb.p);
    assert_true(flight_seq(fb) > flight_seq(fa));
    assert_int_equal(join(s, &c, false, 0), FLIGHT_JOINED);
    assert_ptr_equal(c.r.flight, fb);
    (void)flight_end(fa, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_end(fb, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&b.r);
    (void)flight_leave(&c.r);
    deliver(s);
}

/* -- answers that vary -- */

static const struct flight_split split = {
    SLICE("user-agent"), SLICE("0123456789abcdef0123456789abcdef"), {{5}}};

static void what_varies_asks_each_reader_but_the_opener_before_a_byte(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s), c = reader_on(s), late = reader_on(s);
    struct producer p = producer_on(s);
    const struct flight_head *head;
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_int_equal(join(s, &c, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_look(&a.r, &head), FLIGHT_WAIT);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_WAIT);
    assert_int_equal(flight_look(&c.r, &head), FLIGHT_WAIT);
    assert_true(flight_vary(f, &split));
    deliver(s);
    assert_int_equal(b.calls, 1); /* at the head already, though nothing is published */
    assert_int_equal(c.calls, 1);

    assert_int_equal(flight_look(&b.r, &head), FLIGHT_VARIES);
    assert_true(slice_eq(flight_split_of(&b.r)->names, split.names));
    assert_true(slice_eq(flight_split_of(&b.r)->id, split.id));
    assert_true(digest_eq(&flight_split_of(&b.r)->key, &split.key));
    flight_stay(&b.r);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_WAIT);
    assert_int_equal(flight_look(&c.r, &head), FLIGHT_VARIES);
    (void)flight_leave(&c.r);

    flight_publish(f);
    assert_int_equal(flight_append(f, SLICE_OF("for some")), 0);
    assert_int_equal(flight_look(&a.r, &head), FLIGHT_READY);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_READY);
    must_read(&b, "for some");
    assert_int_equal(join(s, &late, false, 0), FLIGHT_JOINED); /* it is still found: it tells who is to go */
    assert_int_equal(flight_look(&late.r, &head), FLIGHT_VARIES);
    flight_stay(&late.r);
    assert_int_equal(flight_look(&late.r, &head), FLIGHT_READY);
    must_read(&late, "for some");
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&b.r);
    (void)flight_leave(&late.r);
    deliver(s);
}

static void who_is_told_apart_has_no_say_in_storing(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s), c = reader_on(s);
    struct producer p = producer_on(s);
    struct flight_terms terms = {.ttl_s = 5, .tags = SLICE("b")};
    const struct flight_head *head;
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    flight_offer(&b.r, &terms);
    assert_true(flight_get_terms(f, &terms));
    assert_true(flight_vary(f, &split));
    assert_false(flight_get_terms(f, &terms));
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_VARIES);
    (void)flight_leave(&b.r);
    assert_int_equal(join(s, &c, false, 0), FLIGHT_JOINED);
    terms = (struct flight_terms){.ttl_s = 7, .tags = SLICE("c")};
    flight_offer(&c.r, &terms); /* too early: it is not known yet whether it stays */
    assert_false(flight_get_terms(f, &terms));
    flight_stay(&c.r);
    terms = (struct flight_terms){.ttl_s = 7, .tags = SLICE("c")};
    flight_offer(&c.r, &terms);
    assert_true(flight_get_terms(f, &terms));
    assert_int_equal(terms.ttl_s, 7);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&c.r);
    deliver(s);
}

static void past_its_bound_it_is_a_pipe_at_the_pace_of_the_slowest(void **state)
{
    struct stage *s = *state;
    struct reader fast = reader_on(s), slow = reader_on(s), late = reader_on(s);
    struct producer p = producer_on(s);
    static char block[4096];
    struct flight *f;
    int64_t n;
    int r = 0;

    assert_int_equal(join(s, &fast, false, 0), FLIGHT_OPENED);
    f = fast.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &slow, false, 0), FLIGHT_JOINED);
    flight_publish(f);
    for (int i = 0; i <= BOUND / (int)sizeof(block); i++)
        r = flight_append(f, slice_make(block, sizeof(block)));
    assert_int_equal(r, -EAGAIN);
    assert_false(flight_is_complete(f));
    assert_int_equal(join(s, &late, false, 0), FLIGHT_OPENED); /* it takes no new reader */
    flight_give_up(&late.r);

    while ((n = flight_read(&fast.r, block, sizeof(block))) > 0)
        ;
    assert_int_equal(n, FLIGHT_READ_WAIT);
    assert_false(flight_has_room(f)); /* the slow one still holds every byte */
    while (flight_read(&slow.r, block, sizeof(block)) > 0)
        ;
    assert_true(flight_has_room(f));
    assert_true(limits_buffered_bytes(s->limits) < BOUND);
    deliver(s);
    assert_true(p.calls > 0);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_TOO_LARGE);
    (void)flight_leave(&fast.r);
    (void)flight_leave(&slow.r);
    deliver(s);
}

static void the_first_terms_offered_hold(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct flight_terms first = {.ttl_s = 60, .tags = SLICE("red,blue")},
                        second = {.ttl_s = 5, .tags = SLICE("green")}, got;
    struct producer p = producer_on(s);
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_false(flight_get_terms(f, &got));
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    flight_offer(&b.r, &first);
    flight_offer(&a.r, &second);
    assert_true(flight_get_terms(f, &got));
    assert_int_equal(got.ttl_s, 60);
    assert_true(slice_eq(got.tags, SLICE_OF("red,blue")));
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&b.r);
    deliver(s);
}

/* Or nothing could be stored where an answer varies: nobody has offered again by the time that it is whole.
 */
static void the_opener_s_terms_hold_though_another_was_quicker(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct flight_terms quicker = {.ttl_s = 60, .tags = SLICE("red,blue")},
                        of_opener = {.ttl_s = 5, .tags = SLICE("green")}, got;
    struct producer p = producer_on(s);
    struct flight *f;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    flight_offer(&b.r, &quicker);
    flight_offer(&a.r, &of_opener);
    flight_produce(f, &p.p);
    assert_true(flight_vary(f, &split));
    assert_true(flight_get_terms(f, &got));
    assert_int_equal(got.ttl_s, 5);
    assert_true(slice_eq(got.tags, SLICE_OF("green")));
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&b.r);
    deliver(s);
}

static void what_is_in_the_store_is_looked_for_there(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    const struct flight_head *head;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_WAIT);
    flight_give_up(&a.r);
    assert_false(flight_attached(&a.r));
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_RETRY);
    deliver(s);
    assert_int_equal(b.calls, 1);
    deliver(s);
}

static void the_allowance_is_a_bound(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s);
    struct producer p = producer_on(s);
    struct flight *f;

    assert_true(limits_take_bytes(s->limits, (1 << 20) - 1000));
    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    f = a.r.flight;
    flight_produce(f, &p.p);
    flight_publish(f);
    assert_int_equal(flight_append(f, SLICE_OF("does not fit")), -ENOBUFS);
    (void)flight_end(f, FLIGHT_CUT, GATE_MEMORY);
    assert_int_equal(read_state(&a), FLIGHT_READ_CUT);
    (void)flight_leave(&a.r);
    limits_give_back(s->limits, (1 << 20) - 1000);
    deliver(s);
}

/* -- many threads: what each reader puts together is what was sent -- */

enum { CROWD = 4, PER_THREAD = 50, PIECES = 300 };

struct crowd_reader {
    struct flight_reader r;
    struct crowd *crowd;
    uint64_t sum, bytes;
    bool done;
};

struct crowd {
    struct stage *stage;
    struct loop *loop;
    struct crowd_reader readers[PER_THREAD];
    int left;
};

static uint64_t mix(uint64_t sum, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ (uint8_t)bytes[i]) * UINT64_C(0x100000001B3);
    return sum;
}

static void crowd_read(struct flight_reader *r)
{
    struct crowd_reader *me = CONTAINER_OF(r, struct crowd_reader, r);
    const struct flight_head *head;
    char buf[700];
    int64_t n;

    if (me->done)
        return;
    if (flight_look(r, &head) != FLIGHT_READY)
        return;
    while ((n = flight_read(r, buf, sizeof(buf))) > 0) {
        me->sum = mix(me->sum, buf, (size_t)n);
        me->bytes += (uint64_t)n;
    }
    if (n == FLIGHT_READ_WAIT)
        return;
    assert_int_equal(n, FLIGHT_READ_END);
    me->done = true;
    (void)flight_leave(r);
    if (--me->crowd->left == 0)
        loop_stop(me->crowd->loop);
}

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;

    for (int i = 0; i < PER_THREAD; i++)
        crowd_read(&c->readers[i].r);
    loop_run(c->loop);
    return NULL;
}

static void many_threads_each_get_the_same_bytes(void **state)
{
    struct stage *s = *state;
    static struct crowd crowds[CROWD];
    struct reader opener = reader_on(s);
    struct producer p = producer_on(s);
    pthread_t threads[CROWD];
    uint64_t sum = 0, bytes = 0;
    struct flight *f;

    assert_int_equal(join(s, &opener, false, 0), FLIGHT_OPENED);
    f = opener.r.flight;
    flight_produce(f, &p.p);
    for (int c = 0; c < CROWD; c++) {
        crowds[c] = (struct crowd){.stage = s, .loop = loop_new(), .left = PER_THREAD};
        for (int i = 0; i < PER_THREAD; i++) {
            crowds[c].readers[i] = (struct crowd_reader){
                .r = {.loop = crowds[c].loop, .on_progress = crowd_read}, .crowd = &crowds[c]};
            assert_int_equal(flight_join(s->flights, &s->key, false, 0, &crowds[c].readers[i].r),
                             FLIGHT_JOINED);
        }
    }
    (void)flight_leave(&opener.r);
    for (int c = 0; c < CROWD; c++)
        assert_int_equal(pthread_create(&threads[c], NULL, crowd_main, &crowds[c]), 0);
    flight_publish(f);
    for (int i = 0; i < PIECES; i++) {
        char piece[150];
        int n = snprintf(piece, sizeof(piece), "data: {\"token\": %d, \"filler\": \"%0*d\"}\n\n", i,
                         i % 90 + 1, i);

        assert_int_equal(flight_append(f, slice_make(piece, (size_t)n)), 0);
        sum = mix(sum, piece, (size_t)n);
        bytes += (uint64_t)n;
    }
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    for (int c = 0; c < CROWD; c++) {
        assert_int_equal(pthread_join(threads[c], NULL), 0);
        loop_free(crowds[c].loop);
        for (int i = 0; i < PER_THREAD; i++) {
            assert_int_equal(crowds[c].readers[i].bytes, bytes);
            assert_true(crowds[c].readers[i].sum == sum);
        }
    }
}

/* Another instance's clock is ahead: what begins here after its word is later all the same. */
static void what_begins_after_anothers_word_is_later(void **state)
{
    struct stage *s = *state;
    int64_t ahead = flights_seq(s->flights) + 5 * 1000 * 1000;
    struct reader a = reader_on(s);

    flights_pass(s->flights, ahead);
    flights_pass(s->flights, 1); /* and never goes back */
    assert_int_equal(join(s, &a, false, 0), FLIGHT_OPENED);
    assert_true(flight_seq(a.r.flight) > ahead);
    flight_give_up(&a.r);
    deliver(s);
}

static void a_flight_without_a_reader_is_joined_and_goes_on(void **state)
{
    struct stage *s = *state;
    struct flight *f = flight_open_unread(s->flights, &s->key, 0);
    struct flight_terms terms = {.ttl_s = 60, .tags = SLICE("red")}, got;
    struct producer p = producer_on(s);
    struct reader a = reader_on(s);
    const struct flight_head *head;

    assert_non_null(f);
    assert_null(flight_open_unread(s->flights, &s->key, 0)); /* one for all */
    assert_int_equal(flight_open_since(s->flights, &s->key), flight_seq(f));
    assert_true(flights_seq(s->flights) >= flight_seq(f));
    flight_offer_unread(f, &terms);
    flight_produce(f, &p.p);
    flight_release(f, false);
    assert_true(flight_get_terms(f, &got));
    assert_int_equal(got.ttl_s, 60);
    assert_int_equal(join(s, &a, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_append(f, SLICE_OF("new")), 0);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    assert_int_equal(flight_look(&a.r, &head), FLIGHT_READY);
    must_read(&a, "new");
    (void)flight_leave(&a.r);
    assert_int_equal(flight_open_since(s->flights, &s->key), 0);
    deliver(s);
}

static void a_flight_without_a_reader_that_is_not_needed_sends_joiners_to_the_store(void **state)
{
    struct stage *s = *state;
    struct flight *f = flight_open_unread(s->flights, &s->key, 0);
    struct reader a = reader_on(s);
    const struct flight_head *head;

    assert_int_equal(join(s, &a, false, 0), FLIGHT_JOINED);
    flight_release(f, true);
    assert_int_equal(flight_look(&a.r, &head), FLIGHT_RETRY);
    deliver(s);
}

static void what_is_kept_is_marked_but_stays_whole(void **state)
{
    struct stage *s = *state;
    struct reader opener = reader_on(s), other = reader_on(s), apart = reader_on(s);
    struct producer p = producer_on(s), q = producer_on(s);
    const struct flight_head *head;
    struct flight *f;

    assert_int_equal(join(s, &opener, false, 0), FLIGHT_OPENED);
    f = opener.r.flight;
    flight_produce(f, &p.p);
    assert_int_equal(join(s, &other, false, 0), FLIGHT_JOINED);
    assert_true(flight_let_go(f, FLIGHT_LET_KEPT, 0));
    assert_int_equal(flight_look(&other.r, &head), FLIGHT_RETRY);
    assert_int_equal(join(s, &other, false, 0), FLIGHT_MARKED);
    assert_null(flight_open_unread(s->flights, &s->key, 0));
    assert_true(flight_is_complete(f)); /* it will be stored */
    assert_true(flight_open_apart(s->flights, &apart.r));
    flight_produce(apart.r.flight, &q.p);
    assert_true(flight_is_alone(apart.r.flight) && flight_is_complete(apart.r.flight));
    flight_be_pipe(apart.r.flight);
    assert_false(flight_is_complete(apart.r.flight));
    (void)flight_end(apart.r.flight, FLIGHT_WHOLE, GATE_CLIENT);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&apart.r);
    (void)flight_leave(&opener.r);
    deliver(s);
}

static void what_came_of_a_producer_that_is_gone_is_forgotten(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s), b = reader_on(s);
    struct producer p = producer_on(s);
    struct flight_split told = {.names = SLICE("origin"), .id = SLICE("0123456789abcdef0123456789abcdef")};
    const struct flight_head *head;
    struct flight *f;

    (void)join(s, &a, false, 0);
    f = a.r.flight;
    flight_produce(f, &p.p);
    assert_true(digest_eq(flight_key(f), &s->key));
    flight_head_edit(f)->status = 503;
    assert_null(flight_varies_by(f));
    assert_true(flight_vary(f, &told));
    assert_int_equal(flight_append(f, SLICE_OF("of the dead")), 0);
    flight_rewind(f);
    assert_int_equal(flight_bytes(f), 0);
    assert_int_equal(flight_head(f)->status, 0);
    assert_true(flight_head(f)->body_len == -1);
    assert_true(slice_eq(flight_varies_by(f)->names, told.names)); /* readers were told apart by it */
    assert_int_equal(join(s, &b, false, 0), FLIGHT_JOINED);
    assert_int_equal(flight_look(&b.r, &head), FLIGHT_VARIES);
    flight_stay(&b.r);
    flight_adopt_id(f, told.id);
    flight_publish(f);
    assert_string_equal(flight_id(f), "0123456789abcdef0123456789abcdef");
    assert_int_equal(flight_append(f, SLICE_OF("alive")), 0);
    must_read(&a, "alive");
    must_read(&b, "alive");
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    (void)flight_leave(&b.r);
    deliver(s);
}

static void a_flight_counts_as_opened_no_sooner_than_it_is_told(void **state)
{
    struct stage *s = *state;
    struct reader a = reader_on(s);
    struct producer p = producer_on(s);
    int64_t seq;
    struct flight *f;

    (void)join(s, &a, false, 0);
    f = a.r.flight;
    flight_produce(f, &p.p);
    seq = flight_seq(f);
    flight_raise_seq(f, seq - 1);
    assert_true(flight_seq(f) == seq);
    flight_raise_seq(f, seq + 5000000); /* another instance's clock is ahead */
    assert_true(flight_seq(f) == seq + 5000000);
    assert_true(flight_open_since(s->flights, &s->key) == seq + 5000000);
    assert_true(flights_seq(s->flights) > seq + 5000000);
    (void)flight_end(f, FLIGHT_WHOLE, GATE_STORE);
    (void)flight_leave(&a.r);
    deliver(s);
}

static void a_large_flight_that_is_read_elsewhere_alone_has_room(void **state)
{
    static char bytes[BOUND + WINDOW];
    struct stage *s = *state;
    struct reader a = reader_on(s);
    struct producer p = producer_on(s);
    struct flight *f;

    (void)join(s, &a, false, 0);
    f = a.r.flight;
    flight_produce(f, &p.p);
    flight_publish(f);
    assert_int_equal(flight_append(f, slice_make(bytes, sizeof(bytes))), -EAGAIN);
    assert_false(flight_has_room(f));
    (void)flight_leave(&a.r);
    assert_true(flight_has_room(f));
    (void)flight_end(f, FLIGHT_CUT, GATE_ABANDONED);
    deliver(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(readers_of_a_flight_are_counted_while_others_may_join),
        TEST(a_late_joiner_gets_everything_from_the_first_byte),
        TEST(the_opener_may_leave_and_nobody_is_harmed),
        TEST(the_last_to_leave_has_the_producer_told_and_closes_the_door),
        TEST(a_cut_is_seen_only_after_what_came_before_it),
        TEST(letting_go_sends_all_but_the_opener_away_and_marks_the_key),
        TEST(letting_go_without_its_opener_leaves_nobody),
        TEST(a_fresh_one_takes_the_place_of_the_one_before),
        TEST(what_begins_after_anothers_word_is_later),
        TEST(a_flight_without_a_reader_is_joined_and_goes_on),
        TEST(a_flight_without_a_reader_that_is_not_needed_sends_joiners_to_the_store),
        TEST(what_is_kept_is_marked_but_stays_whole),
        TEST(what_varies_asks_each_reader_but_the_opener_before_a_byte),
        TEST(who_is_told_apart_has_no_say_in_storing),
        TEST(past_its_bound_it_is_a_pipe_at_the_pace_of_the_slowest),
        TEST(the_first_terms_offered_hold),
        TEST(the_opener_s_terms_hold_though_another_was_quicker),
        TEST(what_is_in_the_store_is_looked_for_there),
        TEST(the_allowance_is_a_bound),
        TEST(what_came_of_a_producer_that_is_gone_is_forgotten),
        TEST(a_flight_counts_as_opened_no_sooner_than_it_is_told),
        TEST(a_large_flight_that_is_read_elsewhere_alone_has_room),
        TEST(many_threads_each_get_the_same_bytes),
    };

    return cmocka_run_group_tests_name("flight", tests, NULL, NULL);
}
