/*
 * digest - the cryptographic sums Refrain uses, over OpenSSL: SHA-256 (keys), HMAC-SHA-256 (credential scope)
 * and GMAC (the raw-request memo). NIST FIPS 180-4, RFC 2104, NIST SP 800-38D. Running out of memory inside
 * OpenSSL aborts: contexts are made at start-up, updates do not allocate.
 */
#pragma once
#include <stdint.h>

#include "refrain/base/slice.h"

/** To be called first of all, by main. OpenSSL is then not taken down when the process ends: there may be
 * threads in it that nobody can wait for, such as one that reads certificates. */
void digest_setup(void);

struct digest {
    uint8_t bytes[32];
};

static inline bool digest_eq(const struct digest *a, const struct digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

#define DIGEST_HEX_LEN 64
/** Writes 64 lower-case hex digits and a NUL. */
void digest_hex(const struct digest *d, char out[DIGEST_HEX_LEN + 1]);

/* A reusable SHA-256 context; one thread at a time. */
struct sha256;
struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *s);
void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, struct slice bytes);
/* Tag byte, 64-bit little-endian length, bytes: so no two field lists can run together (SPEC section 4). */
void sha256_add_field(struct sha256 *s, uint8_t tag, struct slice bytes);
struct digest sha256_end(struct sha256 *s);

/** SHA-256 of one run of bytes. Threads: any. */
struct digest sha256_of(struct slice bytes);

/** HMAC-SHA-256 of one run of bytes. Threads: any. */
struct digest hmac_sha256(struct slice secret, struct slice bytes);

/** The same by @s, whose sum under way is lost: a quarter of the time, since it looks no algorithm up by
 * name. One thread at a time. */
struct digest sha256_hmac(struct sha256 *s, struct slice secret, struct slice bytes);

struct gmac_tag {
    uint64_t half[2];
};

/*
 * AES-128 GMAC under a random key made with the context. The IV is fixed: that is sound only because the tag
 * is never revealed to anyone, and the key never leaves the process. One thread at a time.
 */
struct gmac;
struct gmac *gmac_new(const uint8_t key[16]);
void gmac_free(struct gmac *g);
void gmac_begin(struct gmac *g);
void gmac_add(struct gmac *g, struct slice bytes);
struct gmac_tag gmac_end(struct gmac *g);
/** The same of bytes that lie together, for less where they are few. Not between gmac_begin and gmac_end. */
struct gmac_tag gmac_of(struct gmac *g, struct slice bytes);

/** Fills @out with @len random bytes from the system; aborts when there are none to be had. Threads: any. */
void random_bytes(void *out, size_t len);

/** True when both are equal, in a time that depends on the lengths alone. Threads: any. */
bool secret_eq(struct slice a, struct slice b);
