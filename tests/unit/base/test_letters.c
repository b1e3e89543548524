/* hex, jescape, utf8: small tables about letters, each tried over all that it may be asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/base/hex.h"
#include "refrain/base/jescape.h"
#include "refrain/base/utf8.h"

static int place(const char *in, char c)
{
    const char *at = c ? strchr(in, c) : NULL;

    return at ? (int)(at - in) : -1;
}

static void hex_digits_of_all_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < 256; i++) {
        int lower = place("0123456789abcdef", (char)i), upper = place("0123456789ABCDEF", (char)i);

        assert_int_equal(hex_digit_lower((char)i), lower);
        assert_int_equal(hex_digit((char)i), lower >= 0 ? lower : upper);
    }
}

static void hex_bytes(void **state)
{
    static const struct {
        const char *why, *text;
        int want, want_lower;
    } cases[] = {
        {"lower case", "a7", 0xA7, 0xA7},
        {"upper case", "A7", 0xA7, -1},
        {"either", "fF", 0xFF, -1},
        {"zero is no error", "00", 0, 0},
        {"the first is none", "g0", -1, -1},
        {"the second is none", "0g", -1, -1},
        {"nothing is read past a NUL", "", -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(hex_byte(cases[i].text), cases[i].want);
        assert_int_equal(hex_byte_lower(cases[i].text), cases[i].want_lower);
    }
}

static void escapes_mean_what_they_were_written_for(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x300; code++) {
        char letter = jescape_letter(code);

        if (letter)
            assert_int_equal((unsigned char)jescape_meant(letter), code);
        assert_int_equal(letter != 0, code > 0 && code < 0x80 && place("\"\\\b\f\n\r\t", (char)code) >= 0);
    }
    for (int i = 0; i < 256; i++)
        assert_int_equal(jescape_meant((char)i) != 0, place("\"\\/bfnrt", (char)i) >= 0);
}

static void every_code_is_written_as_it_is_read(void **state)
{
    (void)state;
    for (uint32_t code = 0x80; code <= 0x10FFFF; code++) {
        char bytes[UTF8_BYTES_MAX];
        size_t n = utf8_put(bytes, code), want = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        bool surrogate = code >= 0xD800 && code <= 0xDFFF;

        assert_int_equal(n, want);
        assert_int_equal(utf8_len((const uint8_t *)bytes, n), surrogate ? 0 : n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_digits_of_all_bytes),
        cmocka_unit_test(hex_bytes),
        cmocka_unit_test(escapes_mean_what_they_were_written_for),
        cmocka_unit_test(every_code_is_written_as_it_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
