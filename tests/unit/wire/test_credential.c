/* credential: where it is found, and that nothing of it is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/credential.h"

#define T "rfr_token"

static struct fields fields_of(const char *const *lines)
{
    struct header_table *table =
        header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    struct fields f = {.n = 0};

    for (; *lines; lines++) {
        struct slice value = slice_str(*lines), name = slice_cut(&value, ':');

        assert_int_equal(fields_add(&f, name, value), 0);
    }
    fields_classify(&f, table);
    header_table_free(table);
    return f;
}

static void it_is_found_wherever_sdks_put_it(void **state)
{
    static const struct {
        const char *why, *lines[5];
        enum credential_found found;
        const char *value;
    } cases[] = {
        {"nothing", {"Accept: */*"}, CREDENTIAL_NONE, NULL},
        {"Bearer", {"Authorization: Bearer " T}, CREDENTIAL_ONE, T},
        {"the scheme in any case, after any space", {"AUTHORIZATION:  bEaReR \t " T "  "}, CREDENTIAL_ONE, T},
        {"Anthropic's", {"X-Api-Key: " T}, CREDENTIAL_ONE, T},
        {"Azure's", {"api-key: " T}, CREDENTIAL_ONE, T},
        {"Google's", {"x-goog-api-key: " T}, CREDENTIAL_ONE, T},
        {"twice the same", {"Authorization: Bearer " T, "x-api-key: " T}, CREDENTIAL_ONE, T},
        {"two that differ", {"Authorization: Bearer " T, "x-api-key: " T "2"}, CREDENTIAL_SEVERAL, NULL},
        {"one field twice", {"x-api-key: a", "x-api-key: b"}, CREDENTIAL_SEVERAL, NULL},
        {"an empty one is none", {"x-api-key:   "}, CREDENTIAL_NONE, NULL},
        {"nor is a scheme alone", {"Authorization: Bearer", "x-api-key: " T}, CREDENTIAL_ONE, T},
        {"another scheme is part of it", {"Authorization: Basic " T}, CREDENTIAL_ONE, "Basic " T},
        {"a word that begins so", {"Authorization: Bearer" T}, CREDENTIAL_ONE, "Bearer" T},
        {"no scheme", {"Authorization: " T}, CREDENTIAL_ONE, T},
        {"a scheme means nothing elsewhere", {"x-api-key: Bearer " T}, CREDENTIAL_ONE, "Bearer " T},
        {"for this hop alone", {"Proxy-Authorization: Bearer " T}, CREDENTIAL_NONE, NULL},
        {"Connection does not hide it",
         {"Connection: authorization, x-api-key", "Authorization: Bearer " T, "x-api-key: b"},
         CREDENTIAL_SEVERAL,
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fields f = fields_of(cases[i].lines);
        struct slice value = {NULL, 0};

        print_message("%s\n", cases[i].why);
        assert_int_equal(credential_of_fields(&f, &value), cases[i].found);
        if (cases[i].value)
            assert_true(slice_eq(value, slice_str(cases[i].value)));
    }
}

static void every_credential_goes_and_nothing_else(void **state)
{
    static const char *const lines[] = {"Host: a",        "Authorization: x",  "X-Custom: 1",
                                        "x-api-key: x",   "api-key: x",        "Proxy-Authorization: x",
                                        "Cookie: kept=1", "x-goog-api-key: x", NULL};
    struct fields f = fields_of(lines);

    (void)state;
    credential_strip_fields(&f);
    assert_int_equal(f.n, 3);
    assert_true(slice_eq(f.at[0].name, SLICE_OF("Host")));
    assert_true(slice_eq(f.at[1].name, SLICE_OF("X-Custom")));
    assert_true(slice_eq(f.at[2].name, SLICE_OF("Cookie")));
}

static void keys_stand_in_a_query_and_are_taken_out_of_it(void **state)
{
    static const struct {
        const char *why, *target, *first; /* the first value; NULL: none */
        const char *left;                 /* without T */
    } cases[] = {
        {"no query", "/v1/x", NULL, "/v1/x"},
        {"an empty query", "/v1/x?", NULL, "/v1/x?"},
        {"the only one", "/v1/x?key=" T, T, "/v1/x"},
        {"the first", "/v1/x?key=" T "&a=1", T, "/v1/x?a=1"},
        {"the last", "/v1/x?a=1&key=" T, T, "/v1/x?a=1"},
        {"in the middle", "/v1/x?a=1&key=" T "&b=2", T, "/v1/x?a=1&b=2"},
        {"again and again", "/x?key=" T "&key=" T "&c&key=" T, T, "/x?c"},
        {"coded", "/x?%6b%65%79=rfr%5Ftoken&a", T, "/x?a"},
        {"coded in lower case", "/x?k%65y=%72fr_token", T, "/x"},
        {"another's value stays", "/x?key=other&key=" T, "other", "/x?key=other"},
        {"another name", "/x?apikey=" T "&Key=" T "&keys=" T, NULL, "/x?apikey=" T "&Key=" T "&keys=" T},
        {"without a value", "/x?key&key=&a", NULL, "/x?key&key=&a"},
        {"empty parameters stay", "/x?&&key=" T "&&", T, "/x?&&&"},
        {"a second mark is of the value", "/x?a=?key=" T, NULL, "/x?a=?key=" T},
        {"badly coded stands for itself", "/x?key=%zz&key=%4", "%zz", "/x?key=%zz&key=%4"},
        {"an equals sign in it", "/x?key=a=b", "a=b", "/x?key=a=b"},
        {"a plus is a space", "/x?key=a+b", "a b", "/x?key=a+b"},
        {"in the path it is none", "/key=" T "/x", NULL, "/key=" T "/x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char bytes[128];
        struct slice target = slice_str(cases[i].target), left;
        struct credential_keys keys = credential_keys_of(target);
        bool found = credential_keys_next(&keys);

        print_message("%s\n", cases[i].why);
        assert_int_equal(found, cases[i].first != NULL);
        if (found)
            assert_true(slice_eq(keys.value, slice_str(cases[i].first)));
        memcpy(bytes, target.data, target.len);
        left = credential_strip_keys(slice_make(bytes, target.len), SLICE_OF(T), bytes); /* where it lies */
        assert_true(slice_eq(left, slice_str(cases[i].left)));
    }
}

static void every_key_is_taken_out(void **state)
{
    static const struct {
        const char *why, *target, *left;
    } cases[] = {
        {"without a query", "/v1/x", "/v1/x"},
        {"alone", "/v1/x?key=" T, "/v1/x"},
        {"whosever it is", "/v1/x?key=a&alt=sse&key=b", "/v1/x?alt=sse"},
        {"coded", "/v1/x?%6Bey=a&k%65y=b&x", "/v1/x?x"},
        {"without a value", "/v1/x?key&key=&a", "/v1/x?a"},
        {"other names stay", "/v1/x?apikey=a&keys=b&Key=c&a=key=d", "/v1/x?apikey=a&keys=b&Key=c&a=key=d"},
        {"in the path it is none", "/key=a/x", "/key=a/x"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char bytes[128];
        struct slice left = credential_strip_every_key(slice_str(cases[i].target), bytes);

        print_message("%s\n", cases[i].why);
        assert_true(slice_eq(left, slice_str(cases[i].left)));
    }
}

/* Longer than any token is: it is not decoded, and is nobody's. */
static void a_long_value_is_handed_over_as_it_stands(void **state)
{
    char target[CREDENTIAL_BYTES_MAX + 32] = "/x?key=";
    struct credential_keys keys;

    (void)state;
    for (size_t len = CREDENTIAL_BYTES_MAX; len <= CREDENTIAL_BYTES_MAX + 1; len++) {
        memset(target + 7, 'a', len);
        keys = credential_keys_of(slice_make(target, 7 + len));
        assert_true(credential_keys_next(&keys));
        assert_int_equal(keys.value.len, len);
        assert_int_equal(keys.value.data == target + 7, len > CREDENTIAL_BYTES_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_found_wherever_sdks_put_it),
        cmocka_unit_test(every_credential_goes_and_nothing_else),
        cmocka_unit_test(keys_stand_in_a_query_and_are_taken_out_of_it),
        cmocka_unit_test(every_key_is_taken_out),
        cmocka_unit_test(a_long_value_is_handed_over_as_it_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
