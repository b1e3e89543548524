/* events: who listens hears what it asked for, in order, and is told what it lost; who does not costs
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/store/events.h"

#define BIT(type) (1U << EVENT_##type)

struct ear {
    struct events_listener l;
    struct loop *loop;
    struct loop_timer *limit;
    unsigned calls;
    unsigned stop_after; /* calls; 0: none */
};

static void on_events(struct events_listener *l)
{
    struct ear *ear = CONTAINER_OF(l, struct ear, l);

    if (++ear->calls == ear->stop_after)
        loop_stop(ear->loop);
}

static void ear_open(struct ear *ear, struct events *e, unsigned types, uint64_t after)
{
    *ear = (struct ear){.loop = loop_new(), .stop_after = 1};
    ear->l.loop = ear->loop;
    ear->l.on_events = on_events;
    assert_true(events_listen(e, &ear->l, types, after));
}

static void ear_close(struct ear *ear)
{
    (void)events_leave(&ear->l);
    loop_free(ear->loop); /* runs what is still queued */
}

static void say(struct events *e, enum event_type type, int n)
{
    struct event_draft d;

    if (!events_wanted(e, type))
        return;
    jout_int(event_begin(&d, type), "n", n);
    events_publish(e, &d, SLICE_OF("r-1"));
}

/* "n" of the next event, -1 when there is none. */
static int hear(struct ear *ear, uint64_t *lost)
{
    struct event event;
    int n;

    if (!events_next(&ear->l, &event, lost))
        return -1;
    assert_int_equal(sscanf(event.payload, "{\"n\":%d}", &n), 1);
    return n;
}

static struct events *bus(void)
{
    return events_new(SLICE_OF("00112233aabbccdd"));
}

static void nobody_listens(void **state)
{
    struct events *e = bus();
    struct events_stats stats;

    (void)state;
    assert_false(events_wanted(NULL, EVENT_HIT));
    assert_false(events_wanted(e, EVENT_HIT));
    assert_true(events_wanted(e, EVENT_CACHE_INVALIDATED)); /* it may be asked for later */
    say(e, EVENT_HIT, 1);
    say(e, EVENT_BREAKER, 2);
    events_stats(e, &stats);
    assert_int_equal(stats.published[EVENT_HIT], 0);
    assert_int_equal(stats.published[EVENT_BREAKER], 1);
    assert_int_equal(stats.listeners, 0);
    events_free(e);
    events_free(NULL);
}

static void hears_what_it_asked_for_in_order(void **state)
{
    struct events *e = bus();
    struct event event;
    struct ear ear;
    uint64_t lost;

    (void)state;
    say(e, EVENT_BREAKER, 1);
    ear_open(&ear, e, BIT(HIT) | BIT(BREAKER), 0);
    assert_true(events_wanted(e, EVENT_HIT));
    assert_false(events_wanted(e, EVENT_MISS));
    say(e, EVENT_HIT, 2);
    say(e, EVENT_BREAKER, 3);
    say(e, EVENT_CACHE_INVALIDATED, 4);
    say(e, EVENT_HIT, 5);
    loop_run(ear.loop);
    assert_int_equal(ear.calls, 1); /* one message for all of them */
    assert_true(events_next(&ear.l, &event, &lost));
    assert_int_equal(event.type, EVENT_HIT);
    assert_string_equal(event.source, "00112233aabbccdd");
    assert_string_equal(event.correlation, "r-1");
    assert_true(event.at_ms > 0 && event.seq == 2);
    assert_int_equal(hear(&ear, &lost), 3);
    assert_int_equal(hear(&ear, &lost), 5);
    assert_int_equal(hear(&ear, &lost), -1);
    assert_int_equal(lost, 0);
    ear_close(&ear);
    events_free(e);
}

static void comes_back_to_where_it_was(void **state)
{
    struct events *e = bus();
    struct ear ear;
    uint64_t lost, last;

    (void)state;
    ear_open(&ear, e, BIT(HIT), 0);
    say(e, EVENT_HIT, 1);
    assert_int_equal(hear(&ear, &lost), 1);
    last = events_last(e);
    ear_close(&ear);
    say(e, EVENT_HIT, 2); /* remembered: somebody was there a moment ago */
    say(e, EVENT_HIT, 3);
    ear_open(&ear, e, BIT(HIT), last);
    loop_run(ear.loop); /* called at once */
    assert_int_equal(hear(&ear, &lost), 2);
    assert_int_equal(hear(&ear, &lost), 3);
    assert_int_equal(lost, 0);
    ear_close(&ear);
    ear_open(&ear, e, BIT(HIT), last + 1000); /* of another run of the program */
    assert_int_equal(hear(&ear, &lost), -1);
    ear_close(&ear);
    events_free(e);
}

static void a_flood_overtakes_only_its_own_type(void **state)
{
    struct events *e = bus();
    struct ear ear;
    uint64_t lost, sum = 0;
    int got = 0, first;

    (void)state;
    ear_open(&ear, e, BIT(HIT) | BIT(CACHE_INVALIDATED), 0);
    say(e, EVENT_CACHE_INVALIDATED, 7);
    for (int i = 0; i < 5000; i++)
        say(e, EVENT_HIT, i);
    first = hear(&ear, &lost);
    assert_int_equal(first, 7);
    sum += lost;
    while (hear(&ear, &lost) >= 0) {
        sum += lost;
        got++;
    }
    assert_int_equal(got + (int)sum, 5000);
    assert_true(got >= 1000);
    ear_close(&ear);
    events_free(e);
}

static void what_is_too_long_is_told_without_members(void **state)
{
    struct events *e = bus();
    struct event_draft d;
    struct event event;
    struct ear ear;
    uint64_t lost;
    char text[EVENT_PAYLOAD_BYTES + 1];

    (void)state;
    ear_open(&ear, e, BIT(MISS), 0);
    memset(text, 'x', sizeof(text));
    jout_text(event_begin(&d, EVENT_MISS), "long", slice_make(text, sizeof(text)));
    events_publish(e, &d, slice_make(text, sizeof(text)));
    assert_true(events_next(&ear.l, &event, &lost));
    assert_true(slice_eq(slice_make(event.payload, event.payload_len), SLICE_OF("{\"truncated\":true}")));
    assert_int_equal(strlen(event.correlation), EVENT_CORRELATION_BYTES);
    ear_close(&ear);
    events_free(e);
}

static void no_more_listeners_than_the_bound(void **state)
{
    struct events *e = bus();
    struct loop *loop = loop_new();
    static struct events_listener many[EVENTS_LISTENERS_MAX + 1];

    (void)state;
    for (size_t i = 0; i <= EVENTS_LISTENERS_MAX; i++) {
        many[i] = (struct events_listener){.loop = loop, .on_events = on_events};
        assert_int_equal(events_listen(e, &many[i], BIT(HIT), 0), i < EVENTS_LISTENERS_MAX);
    }
    assert_true(events_leave(&many[EVENTS_LISTENERS_MAX])); /* it never was one */
    for (size_t i = 0; i < EVENTS_LISTENERS_MAX; i++)
        assert_true(events_leave(&many[i]));
    loop_free(loop);
    events_free(e);
}

static void names_lead_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < EVENT_TYPES; i++)
        assert_int_equal(event_type_by_name(slice_str(event_type_name((enum event_type)i))), i);
    assert_int_equal(event_type_by_name(SLICE_OF("hit")), -1);
}

/* -- from several threads -- */

enum { TALKERS = 3, EACH = 3000 };

static void *talk(void *arg)
{
    for (int i = 0; i < EACH; i++)
        say(arg, i % 2 ? EVENT_HIT : EVENT_BREAKER, i);
    return NULL;
}

struct crowd {
    struct ear ear;
    uint64_t heard, lost;
};

static void on_crowd(struct events_listener *l)
{
    struct crowd *c = CONTAINER_OF(l, struct crowd, ear.l);
    struct event event;
    uint64_t lost, last = 0;

    while (events_next(l, &event, &lost)) {
        assert_true(event.seq > last);
        last = event.seq;
        c->heard++;
        c->lost += lost;
    }
    if (c->heard + c->lost == (uint64_t)TALKERS * EACH)
        loop_stop(c->ear.loop);
}

static void every_event_is_heard_or_counted(void **state)
{
    struct events *e = bus();
    pthread_t threads[TALKERS];
    struct crowd c = {.ear.loop = loop_new()};

    (void)state;
    c.ear.l.loop = c.ear.loop;
    c.ear.l.on_events = on_crowd;
    assert_true(events_listen(e, &c.ear.l, BIT(HIT) | BIT(BREAKER), 0));
    for (int i = 0; i < TALKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, e), 0);
    loop_run(c.ear.loop);
    for (int i = 0; i < TALKERS; i++)
        (void)pthread_join(threads[i], NULL);
    (void)events_leave(&c.ear.l);
    c.ear.l.on_events = on_events;
    loop_free(c.ear.loop);
    events_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(hears_what_it_asked_for_in_order),
        cmocka_unit_test(comes_back_to_where_it_was),
        cmocka_unit_test(a_flood_overtakes_only_its_own_type),
        cmocka_unit_test(what_is_too_long_is_told_without_members),
        cmocka_unit_test(no_more_listeners_than_the_bound),
        cmocka_unit_test(names_lead_both_ways),
        cmocka_unit_test(every_event_is_heard_or_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
