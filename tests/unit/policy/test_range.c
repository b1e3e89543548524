/* range: RFC 9110 section 14. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/policy/range.h"

static void a_range_is_a_part_or_none_or_not_understood(void **state)
{
    static const struct {
        const char *why, *value;
        uint64_t length;
        enum range_verdict want;
        uint64_t first, last;
    } cases[] = {
        {"in the middle", "bytes=2-4", 10, RANGE_PART, 2, 4},
        {"the first", "bytes=0-0", 10, RANGE_PART, 0, 0},
        {"the last", "bytes=9-9", 10, RANGE_PART, 9, 9},
        {"all", "bytes=0-9", 10, RANGE_PART, 0, 9},
        {"to the end", "bytes=7-", 10, RANGE_PART, 7, 9},
        {"past the end", "bytes=7-100", 10, RANGE_PART, 7, 9},
        {"far past the end", "bytes=7-99999999999999999999999999", 10, RANGE_PART, 7, 9},
        {"the last three", "bytes=-3", 10, RANGE_PART, 7, 9},
        {"more than there are", "bytes=-30", 10, RANGE_PART, 0, 9},
        {"leading zeros", "bytes=002-0004", 10, RANGE_PART, 2, 4},
        {"the unit in any case", "ByTeS=2-4", 10, RANGE_PART, 2, 4},
        {"spaces about", "bytes= 2-4 ", 10, RANGE_PART, 2, 4},
        {"empty elements beside it", "bytes=,2-4, ,", 10, RANGE_PART, 2, 4},
        {"behind the end", "bytes=10-", 10, RANGE_NONE, 0, 0},
        {"far behind the end", "bytes=99999999999999999999999999-", 10, RANGE_NONE, 0, 0},
        {"of nothing", "bytes=0-", 0, RANGE_NONE, 0, 0},
        {"the last of nothing", "bytes=-1", 0, RANGE_NONE, 0, 0},
        {"the last none", "bytes=-0", 10, RANGE_NONE, 0, 0},
        {"backwards", "bytes=4-2", 10, RANGE_WHOLE, 0, 0},
        {"backwards behind the end", "bytes=14-12", 10, RANGE_WHOLE, 0, 0},
        {"letters", "bytes=a-b", 10, RANGE_WHOLE, 0, 0},
        {"letters behind digits", "bytes=1x-2", 10, RANGE_WHOLE, 0, 0},
        {"neither end", "bytes=-", 10, RANGE_WHOLE, 0, 0},
        {"no dash", "bytes=5", 10, RANGE_WHOLE, 0, 0},
        {"a negative number", "bytes=--3", 10, RANGE_WHOLE, 0, 0},
        {"a sign", "bytes=+1-2", 10, RANGE_WHOLE, 0, 0},
        {"no set", "bytes", 10, RANGE_WHOLE, 0, 0},
        {"an empty set", "bytes=", 10, RANGE_WHOLE, 0, 0},
        {"another unit", "lines=1-2", 10, RANGE_WHOLE, 0, 0},
        {"nothing", "", 10, RANGE_WHOLE, 0, 0},
        {"two", "bytes=0-1,4-5", 10, RANGE_SEVERAL, 0, 0},
        {"many", "bytes=0-0,0-0,0-0,0-0", 10, RANGE_SEVERAL, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t first = 0, last = 0;
        enum range_verdict got = range_read(slice_str(cases[i].value), cases[i].length, &first, &last);

        if (got != cases[i].want || first != cases[i].first || last != cases[i].last)
            fail_msg("%s: %d %llu-%llu", cases[i].why, (int)got, (unsigned long long)first,
                     (unsigned long long)last);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_is_a_part_or_none_or_not_understood),
    };

    return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
