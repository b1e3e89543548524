#include "refrain/base/digest.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/modes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "refrain/base/attr.h"

/* OpenSSL fails here only for want of memory or for a bug of ours; a wrong key must never come of it. */
static void must(int ok)
{
    if (UNLIKELY(ok != 1))
        abort();
}

void digest_setup(void)
{
    must(OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL));
}

void digest_hex(const struct digest *d, char out[DIGEST_HEX_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(d->bytes); i++) {
        out[2 * i] = digits[d->bytes[i] >> 4];
        out[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    out[DIGEST_HEX_LEN] = '\0';
}

struct sha256 {
    EVP_MD_CTX *ctx;
    EVP_MD *md; /* fetched once: EVP_sha256() looks the algorithm up at every init */
};

struct sha256 *sha256_new(void)
{
    struct sha256 *s = calloc(1, sizeof(*s));

    must(s != NULL);
    s->ctx = EVP_MD_CTX_new();
    s->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    must(s->ctx != NULL && s->md != NULL);
    return s;
}

void sha256_free(struct sha256 *s)
{
    if (!s)
        return;
    if (!s)
        return;
    EVP_MD_CTX_free(s->ctx);
    EVP_MD_free(s->md);
    free(s);
}

void sha256_begin(struct sha256 *s)
{
    must(EVP_DigestInit_ex2(s->ctx, s->md, NULL));
}

void sha256_add(struct sha256 *s, struct slice bytes)
{
    must(EVP_DigestUpdate(s->ctx, bytes.data, bytes.len));
}

void sha256_add_field(struct sha256 *s, uint8_t tag, struct slice bytes)
{
    uint8_t head[9] = {tag};

    for (int i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)((uint64_t)bytes.len >> (8 * i));
    sha256_add(s, slice_make(head, sizeof(head)));
    sha256_add(s, bytes);
}

struct digest sha256_end(struct sha256 *s)
{
    struct digest d;

    must(EVP_DigestFinal_ex(s->ctx, d.bytes, NULL));
    return d;
}

struct digest sha256_of(struct slice bytes)
{
    struct digest d;

    must(EVP_Digest(bytes.data, bytes.len, d.bytes, NULL, EVP_sha256(), NULL));
    return d;
}

struct digest hmac_sha256(struct slice secret, struct slice bytes)
{
    struct digest d;

    must(secret.len <= INT_MAX);
    must(HMAC(EVP_sha256(), secret.data, (int)secret.len, (const unsigned char *)bytes.data, bytes.len,
              d.bytes, NULL) != NULL);
    return d;
}

/* In a block of its own, each byte xor @with (RFC 2104). */
static void add_padded_secret(struct sha256 *s, struct slice secret, uint8_t with)
{
    uint8_t block[64] = {0};

    memcpy(block, secret.data, secret.len);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= with;
    sha256_add(s, slice_make(block, sizeof(block)));
    OPENSSL_cleanse(block, sizeof(block));
}

struct digest sha256_hmac(struct sha256 *s, struct slice secret, struct slice bytes)
{
    struct digest sum;

    if (secret.len == 0 || secret.len > 64)
        return hmac_sha256(secret, bytes);
    sha256_begin(s);
    add_padded_secret(s, secret, 0x36);
    sha256_add(s, bytes);
    sum = sha256_end(s);
    sha256_begin(s);
    add_padded_secret(s, secret, 0x5c);
    sha256_add(s, slice_make(sum.bytes, sizeof(sum.bytes)));
    return sha256_end(s);
}

/*
 * A tag is asked for in one of two ways, of the same sum. EVP has the fastest code for long texts, and takes
 * some hundred instructions to begin and to end. GCM's own functions take next to none: of the cipher they
 * ask the block of zeros, which is the hash's key, and the first counter block, which masks the tag. Key and
 * IV are fixed, so both are made once.
 */
struct gmac {
    EVP_CIPHER_CTX *ctx;
    GCM128_CONTEXT *gcm;
    uint8_t hash_key[16], mask[16];
};

/* Fixed on purpose: see the header. */
static const uint8_t gmac_iv[12] = "refrain-memo";

static void gmac_block(const unsigned char in[16], unsigned char out[16], const void *key)
{
    static const uint8_t zeros[16];
    const struct gmac *g = key;

    memcpy(out, memcmp(in, zeros, sizeof(zeros)) == 0 ? g->hash_key : g->mask, sizeof(g->mask));
}

static void cipher_block(EVP_CIPHER_CTX *ctx, const uint8_t in[16], uint8_t out[16])
{
    int n;

    must(EVP_EncryptUpdate(ctx, out, &n, in, 16));
    must(n == 16);
}

/* NIST SP 800-38D, sections 6.4 and 7.1: H, and the cipher of J0. */
static void gmac_blocks(struct gmac *g, const uint8_t key[16])
{
    static const uint8_t zeros[16];
    uint8_t counter[16] = {[15] = 1};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    memcpy(counter, gmac_iv, sizeof(gmac_iv));
    must(ctx != NULL);
    must(EVP_EncryptInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL));
    must(EVP_CIPHER_CTX_set_padding(ctx, 0));
    cipher_block(ctx, zeros, g->hash_key);
    cipher_block(ctx, counter, g->mask);
    EVP_CIPHER_CTX_free(ctx);
}

struct gmac *gmac_new(const uint8_t key[16])
{
    struct gmac *g = calloc(1, sizeof(*g));

    must(g != NULL);
    g->ctx = EVP_CIPHER_CTX_new();
    must(g->ctx != NULL);
    must(EVP_EncryptInit_ex(g->ctx, EVP_aes_128_gcm(), NULL, key, gmac_iv));
    gmac_blocks(g, key);
    g->gcm = CRYPTO_gcm128_new(g, gmac_block);
    must(g->gcm != NULL);
    return g;
}

void gmac_free(struct gmac *g)
{
    if (!g)
        return;
    EVP_CIPHER_CTX_free(g->ctx); /* cleanses the key, … */
    CRYPTO_gcm128_release(g->gcm);
    OPENSSL_cleanse(g, sizeof(*g)); /* … as these do what is made of it */
    free(g);
}

struct gmac_tag gmac_of(struct gmac *g, struct slice bytes)
{
    struct gmac_tag tag;

    CRYPTO_gcm128_setiv(g->gcm, gmac_iv, sizeof(gmac_iv));
    must(CRYPTO_gcm128_aad(g->gcm, (const unsigned char *)bytes.data, bytes.len) == 0);
    CRYPTO_gcm128_tag(g->gcm, (unsigned char *)&tag, sizeof(tag));
    return tag;
}

void gmac_begin(struct gmac *g)
{
    must(EVP_EncryptInit_ex(g->ctx, NULL, NULL, NULL, gmac_iv)); /* keeps the key schedule */
}

void gmac_add(struct gmac *g, struct slice bytes)
{
    int out;

    while (bytes.len > 0) {
        int n = bytes.len > INT_MAX ? INT_MAX : (int)bytes.len;

        must(EVP_EncryptUpdate(g->ctx, NULL, &out, (const unsigned char *)bytes.data, n));
        bytes = slice_skip(bytes, (size_t)n);
    }
}

struct gmac_tag gmac_end(struct gmac *g)
{
    struct gmac_tag tag;
    unsigned char none[16];
    int out;

    must(EVP_EncryptFinal_ex(g->ctx, none, &out));
    must(EVP_CIPHER_CTX_ctrl(g->ctx, EVP_CTRL_GCM_GET_TAG, sizeof(tag), &tag));
    return tag;
}

void random_bytes(void *out, size_t len)
{
    char *p = out;

    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        must(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

bool secret_eq(struct slice a, struct slice b)
{
    return a.len == b.len && CRYPTO_memcmp(a.data, b.data, a.len) == 0;
}
