/* redis_slots: names fall into the slots that servers count, and of maps and redirections only sense is
 * taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/attr.h"
#include "refrain/store/redis_slots.h"
#include "refrain/store/resp.h"

static const struct redis_endpoint asked = {"10.0.0.9", 6379};

/* As `CLUSTER KEYSLOT` of a server tells them. */
static const struct {
    const char *key;
    uint16_t slot;
} slots[] = {
    {"", 0},          {"a", 15495},        {"123456789", 12739}, {"{a}b", 15495},
    {"b{a}", 15495},  {"x{a}y{b}", 15495}, {"{}a", 10875},       {"a{", 14311},
    {"}a{a}", 15495}, {"{{a}}", 10276},    {"{a", 10276},
};

static void test_slots(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(slots); i++)
        if (redis_slot_of(slice_str(slots[i].key)) != slots[i].slot)
            fail_msg("%s: %u, not %u", slots[i].key, redis_slot_of(slice_str(slots[i].key)), slots[i].slot);
}

/* RESP, written short: every `;` stands for CR LF. */
static struct redis_reply *reply_of(const char *shorthand, struct resp_reader **out_reader)
{
    const struct resp_reader_conf limits = {1 << 20, 1 << 22, 1 << 18, 7};
    struct redis_reply *reply = NULL;
    char *text = calloc(2, strlen(shorthand) + 1);
    struct slice bytes;
    size_t n = 0;

    assert_non_null(text);
    for (const char *c = shorthand; *c; c++) {
        if (*c == ';')
            text[n++] = '\r';
        text[n++] = *c == ';' ? '\n' : *c;
    }
    bytes = slice_make(text, n);
    *out_reader = resp_reader_new(&limits);
    assert_int_equal(resp_reader_next(*out_reader, &bytes, &reply), RESP_READ_REPLY);
    free(text);
    return reply;
}

#define NODE_A "*3;$8;10.0.0.1;:7001;$2;id;"
#define NODE_B "*4;$8;10.0.0.2;:7002;$2;id;*2;$8;hostname;$1;x;"

static const struct {
    const char *why, *reply;
    int r;
    unsigned served, masters;
    const char *host_of_0; /* who has slot 0; NULL: nobody */
    uint16_t port_of_0;
} maps[] = {
    {"two masters, one with a replica", "*2;*3;:0;:8191;" NODE_A "*4;:8192;:16383;" NODE_B NODE_A, 0, 16384,
     2, "10.0.0.1", 7001},
    {"rows of one master", "*2;*3;:0;:9;" NODE_A "*3;:20;:29;" NODE_A, 0, 20, 1, "10.0.0.1", 7001},
    {"a hole at the beginning", "*1;*3;:1;:1;" NODE_A, 0, 1, 1, NULL, 0},
    {"nobody knows its address: the one asked", "*1;*3;:0;:5;*3;$-1;:7005;$2;id;", 0, 6, 1, "10.0.0.9", 7005},
    {"alone, and without a name", "*1;*3;:0;:5;*3;$0;;:7005;$2;id;", 0, 6, 1, "10.0.0.9", 7005},
    {"a name that is not known yet", "*2;*3;:0;:5;*3;$1;?;:7005;$2;id;*3;:6;:6;" NODE_A, 0, 1, 1, NULL, 0},
    {"no port for us", "*2;*3;:0;:5;*3;$8;10.0.0.1;:0;$2;id;*3;:6;:6;" NODE_A, 0, 1, 1, NULL, 0},
    {"IPv6", "*1;*3;:0;:5;*2;$3;::1;:7005;", 0, 6, 1, "::1", 7005},
    {"a host's name", "*1;*3;:0;:5;*2;$12;redis-1.test;:7005;", 0, 6, 1, "redis-1.test", 7005},
    {"empty", "*0;", -ENODATA, 0, 0, NULL, 0},
    {"no row has anybody", "*1;*3;:0;:5;*3;$1;?;:7005;$2;id;", -ENODATA, 0, 0, NULL, 0},
    {"no array", ":1;", -EPROTO, 0, 0, NULL, 0},
    {"nil", "*-1;", -EPROTO, 0, 0, NULL, 0},
    {"an error", "-ERR;", -EPROTO, 0, 0, NULL, 0},
    {"rows that are none", "*1;:5;", -EPROTO, 0, 0, NULL, 0},
    {"a row without a node", "*1;*2;:0;:5;", -EPROTO, 0, 0, NULL, 0},
    {"a node that is none", "*1;*3;:0;:5;$1;x;", -EPROTO, 0, 0, NULL, 0},
    {"a node without a port", "*1;*3;:0;:5;*1;$8;10.0.0.1;", -EPROTO, 0, 0, NULL, 0},
    {"negative", "*1;*3;:-1;:5;" NODE_A, -EPROTO, 0, 0, NULL, 0},
    {"too large", "*1;*3;:0;:16384;" NODE_A, -EPROTO, 0, 0, NULL, 0},
    {"far too large", "*1;*3;:0;:9223372036854775807;" NODE_A, -EPROTO, 0, 0, NULL, 0},
    {"backwards", "*1;*3;:6;:5;" NODE_A, -EPROTO, 0, 0, NULL, 0},
    {"told twice", "*2;*3;:0;:5;" NODE_A "*3;:5;:6;" NODE_B, -EPROTO, 0, 0, NULL, 0},
    {"told twice of the same", "*2;*3;:0;:5;" NODE_A "*3;:5;:6;" NODE_A, -EPROTO, 0, 0, NULL, 0},
    {"texts for numbers", "*1;*3;$1;0;$1;5;" NODE_A, -EPROTO, 0, 0, NULL, 0},
    {"a number for a host", "*1;*3;:0;:5;*2;:1;:7005;", -EPROTO, 0, 0, NULL, 0},
    {"a port too large", "*1;*3;:0;:5;*2;$8;10.0.0.1;:65536;", -EPROTO, 0, 0, NULL, 0},
    {"a negative port", "*1;*3;:0;:5;*2;$8;10.0.0.1;:-1;", -EPROTO, 0, 0, NULL, 0},
    {"a host with a space", "*1;*3;:0;:5;*2;$8;10.0 0.1;:7005;", -EPROTO, 0, 0, NULL, 0},
    {"a host that is a path", "*1;*3;:0;:5;*2;$8;/tmp/abc;:7005;", -EPROTO, 0, 0, NULL, 0},
    {"a host that is an option", "*1;*3;:0;:5;*2;$8;-10.0.01;:7005;", -EPROTO, 0, 0, NULL, 0},
};

static void test_maps(void **state)
{
    struct redis_map *m = malloc(sizeof(*m));

    (void)state;
    assert_non_null(m);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
        struct resp_reader *reader;
        struct redis_reply *reply = reply_of(maps[i].reply, &reader);
        const int r = redis_map_read(m, reply, &asked);

        resp_reply_free(reply);
        resp_reader_free(reader);
        if (r != maps[i].r)
            fail_msg("%s: %d", maps[i].why, r);
        if (r < 0)
            continue;
        if (m->served_n != maps[i].served || m->masters_n != maps[i].masters)
            fail_msg("%s: %u slots, %u masters", maps[i].why, m->served_n, m->masters_n);
        if (!maps[i].host_of_0) {
            assert_int_equal(m->owner[0], REDIS_NOBODY);
            continue;
        }
        assert_string_equal(m->masters[m->owner[0]].host, maps[i].host_of_0);
        assert_int_equal(m->masters[m->owner[0]].port, maps[i].port_of_0);
    }
    free(m);
}

/* As many masters as are taken, and one more. */
static int read_map_of(struct redis_map *m, int masters)
{
    struct resp_reader *reader;
    struct redis_reply *reply;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    int r;

    (void)fprintf(f, "*%d;", masters);
    for (int i = 0; i < masters; i++)
        (void)fprintf(f, "*3;:%d;:%d;*2;$8;10.0.0.1;:%d;", i, i, i + 1);
    (void)fclose(f);
    reply = reply_of(text, &reader);
    r = redis_map_read(m, reply, &asked);
    resp_reply_free(reply);
    resp_reader_free(reader);
    free(text);
    return r;
}

static void test_masters_have_a_ceiling(void **state)
{
    struct redis_map *m = malloc(sizeof(*m));

    (void)state;
    assert_non_null(m);
    assert_int_equal(read_map_of(m, REDIS_MASTERS_MAX), 0);
    assert_int_equal(m->masters_n, REDIS_MASTERS_MAX);
    assert_int_equal(read_map_of(m, REDIS_MASTERS_MAX + 1), -E2BIG);
    free(m);
}

static const struct {
    const char *why, *text;
    enum redis_redirect_kind kind;
    uint16_t slot;
    const char *host;
    uint16_t port;
} redirects[] = {
    {"moved", "MOVED 3999 127.0.0.1:6381", REDIS_MOVED, 3999, "127.0.0.1", 6381},
    {"ask", "ASK 0 redis.test:1", REDIS_ASK, 0, "redis.test", 1},
    {"IPv6", "MOVED 16383 2001:db8::1:65535", REDIS_MOVED, 16383, "2001:db8::1", 65535},
    {"the address that was asked", "MOVED 3999 :6381", REDIS_MOVED, 3999, "10.0.0.9", 6381},
    {"another error", "ERR no", REDIS_STAYS, 0, NULL, 0},
    {"nothing", "", REDIS_STAYS, 0, NULL, 0},
    {"only the word", "MOVED", REDIS_STAYS, 0, NULL, 0},
    {"a longer word", "MOVEDON 3999 127.0.0.1:6381", REDIS_STAYS, 0, NULL, 0},
    {"small letters", "moved 3999 127.0.0.1:6381", REDIS_STAYS, 0, NULL, 0},
    {"no address", "MOVED 3999", REDIS_STAYS, 0, NULL, 0},
    {"an empty address", "MOVED 3999 ", REDIS_STAYS, 0, NULL, 0},
    {"slot too large", "MOVED 16384 127.0.0.1:6381", REDIS_STAYS, 0, NULL, 0},
    {"slot far too large", "MOVED 18446744073709551615 127.0.0.1:6381", REDIS_STAYS, 0, NULL, 0},
    {"negative slot", "MOVED -1 127.0.0.1:6381", REDIS_STAYS, 0, NULL, 0},
    {"slot that is no number", "MOVED x 127.0.0.1:6381", REDIS_STAYS, 0, NULL, 0},
    {"no port", "MOVED 3999 127.0.0.1", REDIS_STAYS, 0, NULL, 0},
    {"empty port", "MOVED 3999 127.0.0.1:", REDIS_STAYS, 0, NULL, 0},
    {"port nought", "MOVED 3999 127.0.0.1:0", REDIS_STAYS, 0, NULL, 0},
    {"port too large", "MOVED 3999 127.0.0.1:65536", REDIS_STAYS, 0, NULL, 0},
    {"port with more behind it", "MOVED 3999 127.0.0.1:6381 x", REDIS_STAYS, 0, NULL, 0},
    {"an unknown name", "MOVED 3999 ?:6381", REDIS_STAYS, 0, NULL, 0},
    {"a path", "ASK 3999 /tmp/x:6381", REDIS_STAYS, 0, NULL, 0},
};

static void test_redirections(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(redirects); i++) {
        struct redis_redirect got = {0};

        if (redis_redirect_read(&got, slice_str(redirects[i].text), &asked) != redirects[i].kind)
            fail_msg("%s", redirects[i].why);
        if (redirects[i].kind == REDIS_STAYS)
            continue;
        assert_int_equal(got.slot, redirects[i].slot);
        assert_string_equal(got.to.host, redirects[i].host);
        assert_int_equal(got.to.port, redirects[i].port);
    }
}

static void test_hosts_have_a_ceiling(void **state)
{
    char text[REDIS_HOST_MAX + 64] = "MOVED 1 ";
    const size_t at = strlen(text);
    struct redis_redirect got;

    (void)state;
    memset(text + at, 'a', REDIS_HOST_MAX + 1);
    (void)snprintf(text + at + REDIS_HOST_MAX, 8, ":1");
    assert_int_equal(redis_redirect_read(&got, slice_str(text), &asked), REDIS_MOVED);
    memset(text + at, 'a', REDIS_HOST_MAX + 1);
    (void)snprintf(text + at + REDIS_HOST_MAX + 1, 8, ":1");
    assert_int_equal(redis_redirect_read(&got, slice_str(text), &asked), REDIS_STAYS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_masters_have_a_ceiling),
        cmocka_unit_test(test_redirections),
        cmocka_unit_test(test_hosts_have_a_ceiling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
