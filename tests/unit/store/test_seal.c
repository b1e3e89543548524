/* seal: what is sealed opens by the same keys alone, with nothing changed; keys are read as people write
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "refrain/base/attr.h"
#include "refrain/store/seal.h"

static const struct slice aad = SLICE("what stands before");
static const struct slice plain = SLICE("{\"choices\":[{\"message\":\"a secret answer\"}]}");

static struct seal_keys *keys_of(const uint8_t *first, size_t n)
{
    struct seal_keys *k = seal_keys_new();

    assert_non_null(k);
    for (size_t i = 0; i < n; i++) {
        uint8_t key[SEAL_KEY_BYTES] = {first[i]};

        assert_int_equal(seal_keys_add(k, key), 0);
    }
    return k;
}

static void what_is_sealed_opens(void **state)
{
    struct seal_keys *k = keys_of((const uint8_t[]){1}, 1);
    struct seal_mark mark;
    char sealed[64], opened[64];

    (void)state;
    seal_bytes(k, aad, plain, sealed, &mark);
    assert_memory_not_equal(sealed, plain.data, plain.len);
    assert_int_equal(seal_open(k, aad, slice_make(sealed, plain.len), &mark, opened), 0);
    assert_memory_equal(opened, plain.data, plain.len);
    assert_int_equal(seal_open(k, aad, slice_make(sealed, plain.len), &mark, sealed), 0); /* in place */
    assert_memory_equal(sealed, plain.data, plain.len);
    seal_bytes(k, aad, (struct slice){NULL, 0}, sealed, &mark); /* nothing is a message, too */
    assert_int_equal(seal_open(k, aad, (struct slice){NULL, 0}, &mark, opened), 0);
    seal_keys_free(k);
}

static void a_message_is_sealed_otherwise_each_time(void **state)
{
    struct seal_keys *k = keys_of((const uint8_t[]){1}, 1);
    struct seal_mark one, two;
    char first[64], second[64];

    (void)state;
    seal_bytes(k, aad, plain, first, &one);
    seal_bytes(k, aad, plain, second, &two);
    assert_memory_not_equal(one.nonce, two.nonce, sizeof(one.nonce));
    assert_memory_not_equal(first, second, plain.len);
    seal_keys_free(k);
}

/* AES-256-GCM as everybody else has it: made with Python's cryptography from the same key, nonce and label.
 */
static void it_is_what_the_documentation_says(void **state)
{
    static const struct seal_mark mark = {
        .key_id = {0x49, 0xec, 0x24, 0x62, 0x62, 0x92, 0x4a, 0x08},
        .nonce = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23},
        .tag = {0xd5, 0x98, 0x29, 0x34, 0x61, 0x42, 0x4f, 0xe6, 0x0c, 0xaf, 0x5d, 0xe2, 0x96, 0x14, 0x2b,
                0x53},
    };
    static const uint8_t sealed[] = {0xc7, 0x47, 0x56, 0x15, 0x81};
    struct seal_keys *k = keys_of((const uint8_t[]){7}, 1);
    char opened[sizeof(sealed)];

    (void)state;
    assert_int_equal(seal_open(k, SLICE_OF("aad"), slice_make(sealed, sizeof(sealed)), &mark, opened), 0);
    assert_memory_equal(opened, "plain", sizeof(sealed));
    seal_keys_free(k);
}

static void every_flipped_bit_is_found(void **state)
{
    struct seal_keys *k = keys_of((const uint8_t[]){1}, 1);
    struct {
        struct seal_mark mark;
        char aad[32], sealed[64];
    } m;
    char opened[64];
    uint8_t *bytes = (uint8_t *)&m;

    (void)state;
    memset(&m, 0, sizeof(m));
    memcpy(m.aad, aad.data, aad.len);
    seal_bytes(k, slice_make(m.aad, sizeof(m.aad)), slice_make(m.sealed, sizeof(m.sealed)), m.sealed,
               &m.mark);
    for (size_t bit = 0; bit < sizeof(m) * 8; bit++) {
        int r;

        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        r = seal_open(k, slice_make(m.aad, sizeof(m.aad)), slice_make(m.sealed, sizeof(m.sealed)), &m.mark,
                      opened);
        assert_int_equal(r, bit / 8 < sizeof(m.mark.key_id) ? -ENOKEY : -EBADMSG);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t i = 0; i < sizeof(opened); i++)
        assert_int_equal(opened[i], 0); /* nothing unproven is handed out */
    seal_keys_free(k);
}

static void keys_rotate(void **state)
{
    static const struct {
        const char *why;
        uint8_t keys[2];
        size_t n;
        int want;
    } cases[] = {
        {"the same key", {1}, 1, 0},
        {"a new one before it", {2, 1}, 2, 0},
        {"a new one behind it", {1, 2}, 2, 0},
        {"another one", {2}, 1, -ENOKEY},
        {"none", {0}, 0, -ENOKEY},
    };
    struct seal_keys *old = keys_of((const uint8_t[]){1}, 1);
    struct seal_mark mark;
    char sealed[64], opened[64];

    (void)state;
    seal_bytes(old, aad, plain, sealed, &mark);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seal_keys *k = keys_of(cases[i].keys, cases[i].n);

        if (seal_open(k, aad, slice_make(sealed, plain.len), &mark, opened) != cases[i].want ||
            seal_knows(k, mark.key_id) != (cases[i].want == 0))
            fail_msg("%s", cases[i].why);
        seal_keys_free(k);
    }
    seal_keys_free(old);
}

static void the_first_key_seals(void **state)
{
    struct seal_keys *both = keys_of((const uint8_t[]){2, 1}, 2), *old = keys_of((const uint8_t[]){1}, 1);
    struct seal_mark mark;
    char sealed[64];

    (void)state;
    seal_bytes(both, aad, plain, sealed, &mark);
    assert_false(seal_knows(old, mark.key_id));
    seal_keys_free(both);
    seal_keys_free(old);
}

static void keys_have_a_ceiling(void **state)
{
    struct seal_keys *k = keys_of((const uint8_t[]){0}, 1);
    uint8_t key[SEAL_KEY_BYTES] = {0};

    (void)state;
    for (uint8_t i = 1; i < SEAL_KEYS_MAX; i++) {
        key[0] = i;
        assert_int_equal(seal_keys_add(k, key), 0);
    }
    assert_int_equal(seal_keys_add(k, key), 0); /* it is there already */
    key[0] = SEAL_KEYS_MAX;
    assert_int_equal(seal_keys_add(k, key), -ENOSPC);
    seal_keys_free(k);
}

#define HEX     "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
#define NEW_HEX "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define BASE64  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void keys_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *why, *text;
        int want;
        unsigned line;
    } cases[] = {
        {"hex", HEX, 0, 0},
        {"with a line end", HEX "\n", 0, 0},
        {"base64", BASE64 "\r\n", 0, 0},
        {"base64 without its sign", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", 0, 0},
        {"comments, spaces, empty lines, two forms of one", "# the current one\n\n  " HEX " \n" BASE64, 0, 0},
        {"two in a line", HEX "," NEW_HEX, 0, 0},
        {"a comma too many", HEX ",", -EINVAL, 1},
        {"nothing", "", -ENODATA, 0},
        {"comments alone", "# none yet\n", -ENODATA, 0},
        {"too short", "00ff", -EINVAL, 1},
        {"too long", HEX "00", -EINVAL, 1},
        {"a password", "correct horse battery staple", -EINVAL, 1},
        {"no hex digit", "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", -EINVAL, 1},
        {"no base64 digit", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka!xwdHh8=", -EINVAL, 1},
        {"base64 of 33 bytes", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", -EINVAL, 1},
        {"base64 with bits over", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", -EINVAL, 1},
        {"the second is none", HEX "\nold\n", -EINVAL, 2},
        {"one for itself and a word", HEX " key", -EINVAL, 1},
    };
    struct seal_keys *want = seal_keys_new();
    uint8_t key[SEAL_KEY_BYTES];
    struct seal_mark mark;
    char sealed[64];

    (void)state;
    for (uint8_t i = 0; i < SEAL_KEY_BYTES; i++)
        key[i] = i;
    assert_int_equal(seal_keys_add(want, key), 0);
    seal_bytes(want, aad, plain, sealed, &mark);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct seal_keys *k = seal_keys_new();
        unsigned line = 0;
        int r = seal_keys_read(k, slice_str(cases[i].text), &line);

        if (r != cases[i].want || line != cases[i].line || (r == 0 && !seal_knows(k, mark.key_id)))
            fail_msg("%s: %d, line %u", cases[i].why, r, line);
        seal_keys_free(k);
    }
    seal_keys_free(want);
}

static void a_text_read_again_rotates(void **state)
{
    struct seal_keys *k = seal_keys_new(), *old = seal_keys_new();
    struct seal_mark before, after;
    char first[64], second[64], opened[64];
    unsigned line;

    (void)state;
    assert_int_equal(seal_keys_read(old, SLICE_OF(HEX), &line), 0);
    assert_int_equal(seal_keys_read(k, SLICE_OF(HEX), &line), 0);
    seal_bytes(k, aad, plain, first, &before);
    assert_int_equal(seal_keys_read(k, SLICE_OF(NEW_HEX "\n" HEX), &line), 0);
    seal_bytes(k, aad, plain, second, &after);
    assert_true(seal_knows(old, before.key_id));
    assert_false(seal_knows(old, after.key_id));
    assert_int_equal(seal_open(k, aad, slice_make(first, plain.len), &before, opened), 0);
    assert_int_equal(seal_keys_read(k, SLICE_OF("no key"), &line), -EINVAL); /* changes nothing */
    seal_bytes(k, aad, plain, second, &after);
    assert_false(seal_knows(old, after.key_id));
    assert_int_equal(seal_keys_read(k, SLICE_OF(HEX), &line), 0); /* and back */
    seal_bytes(k, aad, plain, second, &after);
    assert_true(seal_knows(old, after.key_id));
    seal_keys_free(k);
    seal_keys_free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens),
        cmocka_unit_test(a_message_is_sealed_otherwise_each_time),
        cmocka_unit_test(it_is_what_the_documentation_says),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(keys_rotate),
        cmocka_unit_test(the_first_key_seals),
        cmocka_unit_test(keys_have_a_ceiling),
        cmocka_unit_test(keys_are_read_as_people_write_them),
        cmocka_unit_test(a_text_read_again_rotates),
    };

    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
