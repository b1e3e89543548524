/* event_stream: what a client of GET /api/v1/events is sent, and what it is told when it does not keep up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "event_stream.h"

#define SOURCE "00112233aabbccdd"

struct given {
    struct loop *loop;
    struct events *events;
    struct event_stream *stream;
    struct loop_timer *limit;
    unsigned woken;
    char text[1 << 20];
    size_t len;
};

static struct given given;

static void on_ready(void *arg)
{
    struct given *g = arg;

    g->woken++;
    loop_stop(g->loop);
}

static void begin(struct given *g, const char *last_id, int64_t heartbeat_ms, int64_t slow_ms)
{
    struct event_stream_conf conf = {.types = (1U << EVENT_TYPES) - 1,
                                     .last_id = slice_str(last_id),
                                     .heartbeat_ms = heartbeat_ms,
                                     .slow_ms = slow_ms};

    if (!g->loop) {
        g->loop = loop_new();
        g->events = events_new(SLICE_OF(SOURCE));
    }
    conf.loop = g->loop;
    conf.events = g->events;
    g->stream = event_stream_new(&conf);
    assert_true(event_stream_start(g->stream, on_ready, g));
    g->len = 0;
    g->woken = 0;
}

static void end(struct given *g)
{
    event_stream_free(g->stream);
    loop_free(g->loop);
    events_free(g->events);
    *g = (struct given){.loop = NULL};
}

static void say(struct given *g, int n)
{
    struct event_draft d;

    jout_int(event_begin(&d, EVENT_HIT), "n", n);
    events_publish(g->events, &d, (struct slice){NULL, 0});
}

/* Reads in pieces of @cap until there is nothing now, or ever. */
static int64_t read_all(struct given *g, size_t cap)
{
    int64_t n;

    while ((n = event_stream_read(g->stream, g->text + g->len, cap)) > 0)
        g->len += (size_t)n;
    g->text[g->len] = '\0';
    return n;
}

static void frames_come_whole_whatever_the_pieces(void **state)
{
    static char first[4096];

    (void)state;
    for (size_t cap = 1; cap < 4096; cap = cap * 3 + 1) {
        begin(&given, NULL, 60000, 60000);
        say(&given, 1);
        say(&given, 2);
        assert_int_equal(read_all(&given, cap), EVENT_STREAM_WAIT);
        assert_non_null(strstr(given.text, ": events of this instance follow\n\n"));
        assert_non_null(
            strstr(given.text, "id: " SOURCE "-1\nevent: HIT\ndata: {\"type\":\"HIT\",\"time\":\""));
        assert_non_null(strstr(given.text, ",\"source\":\"" SOURCE "\",\"payload\":{\"n\":2}}\n\n"));
        if (cap == 1)
            memcpy(first, given.text, sizeof(first));
        assert_int_equal(strlen(given.text), strlen(first));
        end(&given);
    }
}

static void who_has_nothing_to_read_is_woken(void **state)
{
    (void)state;
    begin(&given, NULL, 60000, 60000);
    assert_int_equal(read_all(&given, 4096), EVENT_STREAM_WAIT);
    say(&given, 1);
    loop_run(given.loop);
    assert_int_equal(given.woken, 1);
    end(&given);
}

static void a_heartbeat_comes_where_nothing_else_does(void **state)
{
    (void)state;
    begin(&given, NULL, 5, 60000);
    assert_int_equal(read_all(&given, 4096), EVENT_STREAM_WAIT);
    given.len = 0;
    loop_run(given.loop);
    assert_int_equal(read_all(&given, 4096), EVENT_STREAM_WAIT);
    assert_string_equal(given.text, ": still here\n\n");
    loop_run(given.loop); /* and again */
    end(&given);
}

static void who_is_overtaken_is_told(void **state)
{
    (void)state;
    begin(&given, NULL, 60000, 60000);
    (void)read_all(&given, 4096);
    for (int i = 0; i < 1100; i++)
        say(&given, i);
    assert_int_equal(read_all(&given, 4096), EVENT_STREAM_WAIT);
    assert_non_null(
        strstr(given.text, "event: LOST\ndata: {\"type\":\"LOST\",\"payload\":{\"events\":76}}\n\n"));
    assert_non_null(strstr(given.text, "{\"n\":76}"));
    assert_non_null(strstr(given.text, "{\"n\":1099}"));
    end(&given);
}

static void who_reads_nothing_for_long_is_let_go(void **state)
{
    const char *last;

    (void)state;
    begin(&given, NULL, 60000, 0);
    (void)read_all(&given, 4096);
    say(&given, 0);
    assert_int_equal(read_all(&given, 4096), EVENT_STREAM_WAIT); /* none was lost: as slow as it likes */
    for (int i = 0; i < 1100; i++)
        say(&given, i);
    assert_int_equal(read_all(&given, 4096), EVENT_STREAM_END);
    last = strstr(given.text, "event: SLOW\ndata: {\"type\":\"SLOW\",\"payload\":{\"events\":76}}\n\n");
    assert_non_null(last);
    assert_null(strstr(last, "HIT"));
    end(&given);
}

static void comes_back_by_its_last_id(void **state)
{
    static const struct {
        const char *why, *id, *first;
    } cases[] = {
        {"the second one follows", SOURCE "-1", "id: " SOURCE "-2\n"},
        {"all of them were seen", SOURCE "-3", NULL},
        {"another run", "ffffffffffffffff-1", "event: RESTARTED\n"},
        {"no number", SOURCE "-x", "event: RESTARTED\n"},
        {"no number at all", SOURCE "-", "event: RESTARTED\n"},
        {"too long a number", SOURCE "-1111111111111111111", "event: RESTARTED\n"},
        {"nonsense", "x", "event: RESTARTED\n"},
    };

    (void)state;
    begin(&given, NULL, 60000, 60000);
    for (int i = 0; i < 3; i++)
        say(&given, i);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *after;

        event_stream_free(given.stream);
        begin(&given, cases[i].id, 60000, 60000);
        (void)read_all(&given, 4096);
        after = strstr(given.text, "\n\n") + 2;
        if (cases[i].first ? strncmp(after, cases[i].first, strlen(cases[i].first)) != 0 : *after != '\0')
            fail_msg("%s: %s", cases[i].why, after);
    }
    end(&given);
}

static void types_are_read(void **state)
{
    (void)state;
    assert_int_equal(event_stream_types(SLICE_OF("HIT,MISS")), 1U << EVENT_HIT | 1U << EVENT_MISS);
    assert_int_equal(event_stream_types(SLICE_OF("HIT,")), 0);
    assert_int_equal(event_stream_types(SLICE_OF("hit")), 0);
    assert_int_equal(event_stream_types(SLICE_OF("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_whole_whatever_the_pieces),
        cmocka_unit_test(who_has_nothing_to_read_is_woken),
        cmocka_unit_test(a_heartbeat_comes_where_nothing_else_does),
        cmocka_unit_test(who_is_overtaken_is_told),
        cmocka_unit_test(who_reads_nothing_for_long_is_let_go),
        cmocka_unit_test(comes_back_by_its_last_id),
        cmocka_unit_test(types_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
