/* uriref: what Location and Content-Location name, as a target at the same upstream. RFC 3986 section 5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/wire/uriref.h"

#define PLAIN  "http://api.example"
#define PREFIX "https://api.example:8443/base"

static const struct {
    const char *why, *url, *target, *ref, *want; /* want: NULL where it names nothing of ours */
} cases[] = {
    {"a path", PLAIN, "/a/b", "/c", "/c"},
    {"with a query", PLAIN, "/a/b", "/c?d=/e?f", "/c?d=/e?f"},
    {"without its fragment", PLAIN, "/a/b", "/c?d#e?f", "/c?d"},
    {"relative", PLAIN, "/a/b", "c", "/a/c"},
    {"relative to a directory", PLAIN, "/a/b/", "c", "/a/b/c"},
    {"relative to the root", PLAIN, "/", "c", "/c"},
    {"behind a query with a slash in it", PLAIN, "/a/b?x=/y/", "c", "/a/c"},
    {"a query alone", PLAIN, "/a/b?x", "?y", "/a/b?y"},
    {"nothing: the same", PLAIN, "/a/b?x", "", "/a/b?x"},
    {"a fragment alone: the same", PLAIN, "/a/b?x", "#y", "/a/b?x"},
    {"white space around it", PLAIN, "/a", " /c\t", "/c"},
    {"dots", PLAIN, "/a/b/c", "../d/./e/../f", "/a/d/f"},
    {"dots at the end", PLAIN, "/a/b/c", "..", "/a/"},
    {"one dot at the end", PLAIN, "/a/b/c", ".", "/a/b/"},
    {"more dots than there are segments", PLAIN, "/a/b", "../../../c", "/c"},
    {"dots in a whole path", PLAIN, "/a", "/b/../../c", "/c"},
    {"names that only begin with dots", PLAIN, "/a", "/...b/.c/..d", "/...b/.c/..d"},
    {"empty segments stay", PLAIN, "/a", "/b//c", "/b//c"},
    {"dots in a query mean nothing", PLAIN, "/a", "/b?../c", "/b?../c"},
    {"absolute", PLAIN, "/a", "http://api.example/c", "/c"},
    {"absolute, in another case", PLAIN, "/a", "HTTP://API.example/c", "/c"},
    {"absolute, with the port that goes without saying", PLAIN, "/a", "http://api.example:80/c", "/c"},
    {"absolute, with an empty port", PLAIN, "/a", "http://api.example:/c", "/c"},
    {"absolute, without a path", PLAIN, "/a", "http://api.example", "/"},
    {"absolute, a query alone", PLAIN, "/a", "http://api.example?x", "/?x"},
    {"without a scheme", PLAIN, "/a", "//api.example/c", "/c"},
    {"another host", PLAIN, "/a", "http://other.example/c", NULL},
    {"a host that ours begins", PLAIN, "/a", "http://api.example.evil/c", NULL},
    {"another host without a scheme", PLAIN, "/a", "//other.example/c", NULL},
    {"another port", PLAIN, "/a", "http://api.example:81/c", NULL},
    {"another scheme", PLAIN, "/a", "https://api.example/c", NULL},
    {"a user", PLAIN, "/a", "http://me@api.example/c", NULL},
    {"no http at all", PLAIN, "/a", "mailto:x@api.example", NULL},
    {"a scheme with nothing behind it", PLAIN, "/a", "http:c", NULL},
    {"a colon in a path is no scheme", PLAIN, "/a", "/b:c", "/b:c"},
    {"behind the prefix", PREFIX, "/a", "/base/c", "/c"},
    {"relative, behind the prefix", PREFIX, "/a/b", "c", "/a/c"},
    {"out of the prefix", PREFIX, "/a", "/c", NULL},
    {"a path that the prefix begins", PREFIX, "/a", "/baseless/c", NULL},
    {"the prefix itself", PREFIX, "/a", "/base", NULL},
    {"dots out of the prefix", PREFIX, "/a", "../../c", NULL},
    {"absolute, behind the prefix", PREFIX, "/a", "https://api.example:8443/base/c?d", "/c?d"},
    {"absolute, without its port", PREFIX, "/a", "https://api.example/base/c", NULL},
};

static void references_are_resolved(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO(buf_done) struct buf out = BUF_INIT(4096);
        bool ok =
            uriref_target(slice_str(cases[i].url), slice_str(cases[i].target), slice_str(cases[i].ref), &out);

        if (ok != (cases[i].want != NULL) || (ok && !slice_eq(buf_slice(&out), slice_str(cases[i].want))))
            fail_msg("%s: %s to %s: got %d %.*s", cases[i].why, cases[i].ref, cases[i].target, ok,
                     (int)out.len, out.data ? out.data : "");
    }
}

static void what_does_not_fit_names_nothing(void **state)
{
    AUTO(buf_done) struct buf out = BUF_INIT(8);

    (void)state;
    assert_true(uriref_target(SLICE_OF(PLAIN), SLICE_OF("/a"), SLICE_OF("/2345678"), &out));
    assert_false(uriref_target(SLICE_OF(PLAIN), SLICE_OF("/a"), SLICE_OF("/23456789"), &out));
    assert_false(uriref_target(SLICE_OF(PLAIN), SLICE_OF("/a"), SLICE_OF("/2345?789"), &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_resolved),
        cmocka_unit_test(what_does_not_fit_names_nothing),
    };

    return cmocka_run_group_tests_name("uriref", tests, NULL, NULL);
}
