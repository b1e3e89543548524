/* upload: bounded, in order, and each side is told once when the other has moved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/http/upload.h"

enum { BOUND = 8 };

struct calls {
    int room, more;
};

static void on_room(void *arg)
{
    ((struct calls *)arg)->room++;
}

static void on_more(void *arg)
{
    ((struct calls *)arg)->more++;
}

static struct upload *begin(struct calls *calls)
{
    struct upload *u = upload_new(BOUND);

    assert_non_null(u);
    upload_on_room(u, on_room, calls);
    upload_on_more(u, on_more, calls);
    return u;
}

static void bytes_come_out_as_they_went_in(void **state)
{
    struct calls calls = {0};
    struct upload *u = begin(&calls);
    char buf[16];

    (void)state;
    assert_int_equal(upload_push(u, SLICE_OF("abc")), 3);
    assert_int_equal(upload_push(u, SLICE_OF("de")), 2);
    assert_int_equal(upload_take(u, buf, 2), 2);
    assert_memory_equal(buf, "ab", 2);
    assert_int_equal(upload_take(u, buf, sizeof(buf)), 3);
    assert_memory_equal(buf, "cde", 3);
    upload_finish(u);
    assert_int_equal(upload_take(u, buf, sizeof(buf)), 0);
    upload_unref(u);
}

static void a_full_one_takes_what_fits_and_tells_when_there_is_room(void **state)
{
    struct calls calls = {0};
    struct upload *u = begin(&calls);
    char buf[16];

    (void)state;
    assert_int_equal(upload_push(u, SLICE_OF("0123456789")), BOUND);
    assert_int_equal(upload_push(u, SLICE_OF("89")), 0);
    assert_int_equal(calls.room, 0);
    assert_int_equal(upload_take(u, buf, sizeof(buf)), BOUND);
    assert_int_equal(calls.room, 1);
    assert_int_equal(upload_push(u, SLICE_OF("89")), 2);
    upload_unref(u);
}

static void an_empty_one_makes_its_taker_wait_and_tells_it_once(void **state)
{
    struct calls calls = {0};
    struct upload *u = begin(&calls);
    char buf[16];

    (void)state;
    assert_int_equal(upload_push(u, SLICE_OF("x")), 1);
    assert_int_equal(calls.more, 0); /* nobody waited */
    assert_int_equal(upload_take(u, buf, sizeof(buf)), 1);
    assert_int_equal(upload_take(u, buf, sizeof(buf)), -EAGAIN);
    assert_int_equal(upload_push(u, SLICE_OF("y")), 1);
    assert_int_equal(upload_push(u, SLICE_OF("z")), 1);
    assert_int_equal(calls.more, 1);
    upload_unref(u);
}

static void an_aborted_one_never_ends_well(void **state)
{
    struct calls calls = {0};
    struct upload *u = begin(&calls);
    char buf[16];

    (void)state;
    assert_int_equal(upload_take(u, buf, sizeof(buf)), -EAGAIN);
    upload_abort(u);
    assert_int_equal(calls.more, 1);
    assert_int_equal(upload_take(u, buf, sizeof(buf)), -ECANCELED);
    upload_unref(u);
}

static void once_its_taker_has_ended_the_client_runs_free(void **state)
{
    struct calls calls = {0};
    struct upload *u = begin(&calls);

    (void)state;
    assert_int_equal(upload_push(u, SLICE_OF("0123456789")), BOUND);
    upload_close(u);
    assert_int_equal(calls.room, 1);
    assert_int_equal(upload_push(u, SLICE_OF("0123456789")), 10);
    upload_unref(u);
}

static void note_trailer(void *arg, struct slice name, struct slice value)
{
    int *seen = arg;

    assert_true(*seen == 0 ? slice_eq(name, SLICE_OF("X-Sum")) && slice_eq(value, SLICE_OF("42"))
                           : slice_eq(name, SLICE_OF("X-Empty")) && value.len == 0);
    ++*seen;
}

static void trailers_are_kept_in_order(void **state)
{
    struct calls calls = {0};
    struct upload *u = begin(&calls);
    int seen = 0;

    (void)state;
    upload_trailer(u, SLICE_OF("X-Sum"), SLICE_OF("42"));
    upload_trailer(u, SLICE_OF("X-Empty"), SLICE_OF(""));
    upload_trailers(u, note_trailer, &seen);
    assert_int_equal(seen, 2);
    upload_unref(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in),
        cmocka_unit_test(a_full_one_takes_what_fits_and_tells_when_there_is_room),
        cmocka_unit_test(an_empty_one_makes_its_taker_wait_and_tells_it_once),
        cmocka_unit_test(an_aborted_one_never_ends_well),
        cmocka_unit_test(once_its_taker_has_ended_the_client_runs_free),
        cmocka_unit_test(trailers_are_kept_in_order),
    };

    return cmocka_run_group_tests_name("upload", tests, NULL, NULL);
}
