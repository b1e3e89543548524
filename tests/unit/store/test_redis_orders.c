#include "redis_orders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/store/resp.h"

enum { ORDERS_MAX = 8 };

/* What became of the orders of a test, as text: `1=replied 2=lost`. */
struct told {
    char text[256];
};
struct asked {
    struct told *told;
    int number;
    struct redis_order *forgets; /* on its way back: another one */
};

static void on_order(void *arg, const struct redis_reply *reply, enum redis_why why)
{
    static const char *const words[] = {
        [REDIS_REPLIED] = "replied", [REDIS_DOWN] = "down",           [REDIS_LOST] = "lost",
        [REDIS_BUSY] = "busy",       [REDIS_TOO_LARGE] = "too large",
    };
    struct asked *a = arg;
    size_t len = strlen(a->told->text);

    (void)reply;
    (void)snprintf(a->told->text + len, sizeof(a->told->text) - len, "%s%d=%s", len ? " " : "", a->number,
                   words[why]);
    if (a->forgets)
        redis_order_forget(a->forgets);
}

struct fixture {
    struct redis_orders orders;
    struct told told;
    struct asked asked[ORDERS_MAX];
    struct redis_order *order[ORDERS_MAX];
    int n;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.n = 0};
    redis_orders_init(&f->orders);
}

/* Each is a PING: 14 bytes. */
enum { PING_BYTES = 14 };
static struct redis_order *add(struct fixture *f)
{
    static const struct slice ping = SLICE("PING");
    struct redis_order *o = redis_orders_add(&f->orders, &ping, 1);

    assert_non_null(o);
    assert_int_equal(o->len, PING_BYTES);
    f->asked[f->n] = (struct asked){&f->told, f->n + 1, NULL};
    o->on_reply = on_order;
    o->arg = &f->asked[f->n];
    f->order[f->n++] = o;
    return o;
}

static void end(struct fixture *f, const char *want)
{
    assert_string_equal(f->told.text, want);
    redis_orders_fail_sent(&f->orders);
    redis_orders_fail_unsent(&f->orders);
    assert_int_equal(f->orders.calls_n, 0);
    assert_int_equal(f->orders.unsent_bytes, 0);
    assert_null(redis_orders_next(&f->orders));
}

static size_t unsent_bytes(const struct fixture *f)
{
    struct iovec iov[ORDERS_MAX];
    int n = redis_orders_unsent(&f->orders, iov, ORDERS_MAX);
    size_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

static void replies_come_in_the_order_of_asking(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add(&f);
    add(&f);
    assert_null(redis_orders_next(&f.orders)); /* nothing is expected before it is written */
    redis_orders_written(&f.orders, 2 * PING_BYTES, 7);
    assert_ptr_equal(redis_orders_next(&f.orders), f.order[0]);
    assert_int_equal(f.order[0]->sent_ms, 7);
    redis_orders_answer(&f.orders, NULL, REDIS_REPLIED);
    redis_orders_answer(&f.orders, NULL, REDIS_TOO_LARGE);
    end(&f, "1=replied 2=too large");
}

static void what_is_written_in_part_goes_on_where_it_was(void **state)
{
    struct fixture f;
    struct iovec iov[1];

    (void)state;
    begin(&f);
    add(&f);
    add(&f);
    redis_orders_written(&f.orders, PING_BYTES + 4, 0);
    assert_int_equal(unsent_bytes(&f), PING_BYTES - 4);
    assert_int_equal(redis_orders_unsent(&f.orders, iov, 1), 1);
    assert_memory_equal(iov[0].iov_base, f.order[1]->bytes + 4, PING_BYTES - 4);
    assert_ptr_equal(redis_orders_next(&f.orders), f.order[0]);
    end(&f, "");
}

static void pieces_are_bounded(void **state)
{
    struct fixture f;
    struct iovec iov[2];

    (void)state;
    begin(&f);
    for (int i = 0; i < 3; i++)
        add(&f);
    assert_int_equal(redis_orders_unsent(&f.orders, iov, 2), 2);
    end(&f, "");
}

static void who_is_forgotten_before_it_is_written_never_is(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add(&f);
    add(&f);
    redis_order_forget(f.order[0]);
    assert_int_equal(unsent_bytes(&f), PING_BYTES);
    assert_int_equal(f.orders.calls_n, 1);
    redis_orders_written(&f.orders, PING_BYTES, 0);
    redis_orders_answer(&f.orders, NULL, REDIS_REPLIED);
    end(&f, "2=replied");
}

static void who_is_forgotten_on_its_way_still_takes_its_reply(void **state)
{
    static const struct {
        const char *why;
        size_t written;
    } cases[] = {
        {"written in part", 3},
        {"written", PING_BYTES},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;

        print_message("%s\n", cases[i].why);
        begin(&f);
        add(&f);
        add(&f);
        redis_orders_written(&f.orders, cases[i].written, 0);
        redis_order_forget(f.order[0]);
        assert_int_equal(f.orders.calls_n, 2);
        redis_orders_written(&f.orders, 2 * PING_BYTES - cases[i].written, 0);
        redis_orders_answer(&f.orders, NULL, REDIS_REPLIED); /* the first's, which nobody hears of */
        redis_orders_answer(&f.orders, NULL, REDIS_REPLIED);
        end(&f, "2=replied");
    }
}

static void a_mute_one_is_done_once_it_is_written(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add(&f)->mute = true;
    add(&f);
    redis_orders_written(&f.orders, 2 * PING_BYTES, 0);
    assert_int_equal(f.orders.calls_n, 1);
    redis_orders_answer(&f.orders, NULL, REDIS_REPLIED);
    end(&f, "2=replied");
}

static void only_what_was_written_is_lost(void **state)
{
    static const struct {
        const char *why;
        size_t written;
        const char *lost, *down;
    } cases[] = {
        {"nothing was written", 0, "", "1=down 2=down 3=down"},
        {"one", PING_BYTES, "1=lost", "1=lost 2=down 3=down"},
        {"one and a part: it may have been understood", PING_BYTES + 1, "1=lost 2=lost",
         "1=lost 2=lost 3=down"},
        {"all", 3 * PING_BYTES, "1=lost 2=lost 3=lost", "1=lost 2=lost 3=lost"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;

        print_message("%s\n", cases[i].why);
        begin(&f);
        for (int k = 0; k < 3; k++)
            add(&f);
        redis_orders_written(&f.orders, cases[i].written, 0);
        redis_orders_fail_sent(&f.orders);
        assert_string_equal(f.told.text, cases[i].lost);
        redis_orders_fail_unsent(&f.orders);
        end(&f, cases[i].down);
    }
}

static void who_comes_back_may_forget_those_behind(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    for (int i = 0; i < 3; i++)
        add(&f);
    f.asked[0].forgets = f.order[1];
    redis_orders_fail_unsent(&f.orders);
    end(&f, "1=down 3=down");
}

static void the_queue_has_its_bounds(void **state)
{
    static const struct slice ping = SLICE("PING");
    const size_t size = resp_format_size(&ping, 1); /* as it is counted: not less than its bytes */
    const struct {
        const char *why;
        size_t calls_max, bytes_max;
        int before;
        enum redis_why want;
    } cases[] = {
        {"room for one more", 3, 2 * PING_BYTES + size, 2, REDIS_REPLIED},
        {"as many calls as there may be", 2, 2 * PING_BYTES + size, 2, REDIS_BUSY},
        {"bytes that wait to be written", 3, 2 * PING_BYTES + size - 1, 2, REDIS_BUSY},
        {"larger than the whole queue", 3, size - 1, 0, REDIS_TOO_LARGE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct redis_conf conf = {.queue_calls_max = cases[i].calls_max,
                                        .queue_bytes_max = cases[i].bytes_max};
        struct fixture f;

        print_message("%s\n", cases[i].why);
        begin(&f);
        for (int k = 0; k < cases[i].before; k++)
            add(&f);
        assert_int_equal(redis_orders_room(&f.orders, &conf, &ping, 1), cases[i].want);
        redis_orders_fail_unsent(&f.orders);
        end(&f, cases[i].before ? "1=down 2=down" : "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_in_the_order_of_asking),
        cmocka_unit_test(what_is_written_in_part_goes_on_where_it_was),
        cmocka_unit_test(pieces_are_bounded),
        cmocka_unit_test(who_is_forgotten_before_it_is_written_never_is),
        cmocka_unit_test(who_is_forgotten_on_its_way_still_takes_its_reply),
        cmocka_unit_test(a_mute_one_is_done_once_it_is_written),
        cmocka_unit_test(only_what_was_written_is_lost),
        cmocka_unit_test(who_comes_back_may_forget_those_behind),
        cmocka_unit_test(the_queue_has_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
