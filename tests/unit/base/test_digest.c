/* digest: published vectors, and that fields cannot run together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"

static void assert_hex(struct digest d, const char *want)
{
    char hex[DIGEST_HEX_LEN + 1];

    digest_hex(&d, hex);
    assert_string_equal(hex, want);
}

static void sha256_gives_the_published_sum(void **state) /* FIPS 180-4, "abc" */
{
    struct sha256 *s = sha256_new();
    const char *want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    (void)state;
    assert_hex(sha256_of(SLICE_OF("abc")), want);
    for (int again = 0; again < 2; again++) { /* a context is as good the second time */
        sha256_begin(s);
        sha256_add(s, SLICE_OF("a"));
        sha256_add(s, SLICE_OF("bc"));
        assert_hex(sha256_end(s), want);
    }
    sha256_free(s);
}

static void hmac_gives_the_published_sum(void **state) /* RFC 4231 test case 2 */
{
    (void)state;
    assert_hex(hmac_sha256(SLICE_OF("Jefe"), SLICE_OF("what do ya want for nothing?")),
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void hmac_by_a_context_is_the_same(void **state)
{
    struct sha256 *s = sha256_new();
    char secret[200], bytes[200];
    struct digest want, got;

    (void)state;
    for (size_t i = 0; i < sizeof(secret); i++) {
        secret[i] = (char)(i * 7 + 1);
        bytes[i] = (char)(i * 11 + 3);
    }
    for (size_t n = 0; n <= sizeof(secret); n++) { /* a block has 64 bytes */
        want = hmac_sha256(slice_make(secret, n), slice_make(bytes, sizeof(bytes) - n));
        got = sha256_hmac(s, slice_make(secret, n), slice_make(bytes, sizeof(bytes) - n));
        assert_true(digest_eq(&got, &want));
    }
    sha256_free(s);
}

static void fields_cannot_run_together(void **state)
{
    struct sha256 *s = sha256_new();
    struct digest ab_c, a_bc;

    (void)state;
    sha256_begin(s);
    sha256_add_field(s, 1, SLICE_OF("ab"));
    sha256_add_field(s, 2, SLICE_OF("c"));
    ab_c = sha256_end(s);
    sha256_begin(s);
    sha256_add_field(s, 1, SLICE_OF("a"));
    sha256_add_field(s, 2, SLICE_OF("bc"));
    a_bc = sha256_end(s);
    assert_false(digest_eq(&ab_c, &a_bc));
    sha256_free(s);
}

static struct gmac_tag tag_of(struct gmac *g, struct slice a, struct slice b)
{
    gmac_begin(g);
    gmac_add(g, a);
    gmac_add(g, b);
    return gmac_end(g);
}

static void gmac_depends_on_bytes_and_key_alone(void **state)
{
    struct gmac *g = gmac_new((const uint8_t[16]){1}), *other = gmac_new((const uint8_t[16]){2});
    struct gmac_tag one = tag_of(g, SLICE_OF("hello "), SLICE_OF("world"));
    struct gmac_tag same = tag_of(g, SLICE_OF("hell"), SLICE_OF("o world"));
    struct gmac_tag differs = tag_of(g, SLICE_OF("hello "), SLICE_OF("World"));
    struct gmac_tag other_key = tag_of(other, SLICE_OF("hello "), SLICE_OF("world"));

    (void)state;
    assert_memory_equal(&one, &same, sizeof(one));
    assert_memory_not_equal(&one, &differs, sizeof(one));
    assert_memory_not_equal(&one, &other_key, sizeof(one));
    gmac_free(g);
    gmac_free(other);
}

/* AES-128-GCM with nothing to encrypt, as any other implementation has it (NIST SP 800-38D). */
static void gmac_is_gmac(void **state)
{
    static const uint8_t want[16] = {0x2f, 0x6f, 0x2d, 0x25, 0xdf, 0x88, 0xa0, 0x4f,
                                     0x6a, 0xf1, 0x89, 0x4e, 0x46, 0xfa, 0x56, 0xc1};
    struct gmac *g = gmac_new((const uint8_t[16]){1});
    struct gmac_tag whole = gmac_of(g, SLICE_OF("hello world")), parts;

    (void)state;
    parts = tag_of(g, SLICE_OF("hello "), SLICE_OF("world"));
    assert_memory_equal(&whole, want, sizeof(want));
    assert_memory_equal(&parts, want, sizeof(want));
    gmac_free(g);
}

static void gmac_is_the_same_at_once_and_in_parts(void **state)
{
    struct gmac *g = gmac_new((const uint8_t[16]){3});
    char text[300];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    for (size_t len = 0; len <= sizeof(text); len++) {
        struct gmac_tag whole = gmac_of(g, slice_make(text, len));
        struct gmac_tag parts =
            tag_of(g, slice_make(text, len / 3), slice_make(text + len / 3, len - len / 3));

        assert_memory_equal(&whole, &parts, sizeof(whole));
    }
    gmac_free(g);
}

static void secrets_compare_whole(void **state)
{
    (void)state;
    assert_true(secret_eq(SLICE_OF("token"), SLICE_OF("token")));
    assert_false(secret_eq(SLICE_OF("token"), SLICE_OF("tokeN")));
    assert_false(secret_eq(SLICE_OF("token"), SLICE_OF("toke")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_sum),
        cmocka_unit_test(hmac_gives_the_published_sum),
        cmocka_unit_test(hmac_by_a_context_is_the_same),
        cmocka_unit_test(fields_cannot_run_together),
        cmocka_unit_test(gmac_depends_on_bytes_and_key_alone),
        cmocka_unit_test(gmac_is_gmac),
        cmocka_unit_test(gmac_is_the_same_at_once_and_in_parts),
        cmocka_unit_test(secrets_compare_whole),
    };

    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
