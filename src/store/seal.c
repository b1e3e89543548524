#include "refrain/store/seal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "refrain/base/digest.h"
#include "refrain/base/hex.h"

/*
 * The nonce's first half makes the message's own key, HMAC-SHA-256(key, label, half); the second half is the
 * IV of AES-256-GCM under that. Two random IVs of 96 bits under one key would meet too soon for a fleet that
 * writes for years; the keys that half a nonce of 96 bits makes may meet, since then the IVs differ still.
 */
enum { HALF = SEAL_NONCE_BYTES / 2, LINE_BYTES_MAX = 2 * SEAL_KEY_BYTES, BASE64_BYTES = 44 };

#define LABEL_MESSAGE "refrain seal 1"
#define LABEL_ID      "refrain key id"

struct seal_key {
    uint8_t id[8];
    uint8_t bytes[SEAL_KEY_BYTES];
};

/* Keys are only ever added, so that who seals and opens meanwhile needs no lock. */
struct seal_keys {
    EVP_CIPHER *cipher; /* fetched once: EVP_aes_256_gcm() looks the algorithm up at every message */
    atomic_size_t n, first;
    struct seal_key at[SEAL_KEYS_MAX];
};

/* OpenSSL fails here only for want of memory or for a bug of ours; nothing must ever leave half sealed. */
static void must(int ok)
{
    if (UNLIKELY(ok != 1))
        abort();
}

static struct digest make(const struct seal_key *key, struct slice label, const uint8_t *half)
{
    uint8_t bytes[sizeof(LABEL_MESSAGE) + HALF];
    size_t n = label.len;

    memcpy(bytes, label.data, label.len);
    if (half) {
        memcpy(bytes + n, half, HALF);
        n += HALF;
    }
    return hmac_sha256(slice_make(key->bytes, sizeof(key->bytes)), slice_make(bytes, n));
}

/* -- keys -- */

struct seal_keys *seal_keys_new(void)
{
    struct seal_keys *k = calloc(1, sizeof(*k));

    if (!k)
        return NULL;
    k->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (!k->cipher) {
        free(k);
        return NULL;
    }
    return k;
}

void seal_keys_free(struct seal_keys *k)
{
    if (!k)
        return;
    EVP_CIPHER_free(k->cipher);
    OPENSSL_cleanse(k, sizeof(*k));
    free(k);
}

static const struct seal_key *find_key(const struct seal_keys *k, const uint8_t id[8])
{
    size_t n = atomic_load_explicit(&k->n, memory_order_acquire);

    for (size_t i = 0; i < n; i++)
        if (memcmp(k->at[i].id, id, sizeof(k->at[i].id)) == 0)
            return &k->at[i];
    return NULL;
}

bool seal_knows(const struct seal_keys *k, const uint8_t key_id[8])
{
    return find_key(k, key_id) != NULL;
}

/* Its place; -ENOSPC. */
static int add_key(struct seal_keys *k, const struct seal_key *new)
{
    const struct seal_key *there = find_key(k, new->id);
    size_t n = atomic_load(&k->n);

    if (there)
        return (int)(there - k->at);
    if (n == SEAL_KEYS_MAX)
        return -ENOSPC;
    k->at[n] = *new;
    atomic_store_explicit(&k->n, n + 1, memory_order_release);
    return (int)n;
}

static struct seal_key key_of(const uint8_t bytes[SEAL_KEY_BYTES])
{
    struct seal_key key;
    struct digest id;

    memcpy(key.bytes, bytes, sizeof(key.bytes));
    id = make(&key, SLICE_OF(LABEL_ID), NULL);
    memcpy(key.id, id.bytes, sizeof(key.id));
    return key;
}

int seal_keys_add(struct seal_keys *k, const uint8_t key[SEAL_KEY_BYTES])
{
    struct seal_key new = key_of(key);
    int r = add_key(k, &new);

    OPENSSL_cleanse(&new, sizeof(new));
    return r < 0 ? r : 0;
}

/* -- keys as people write them -- */

static bool read_hex(struct slice text, uint8_t *key)
{
    for (size_t i = 0; i < SEAL_KEY_BYTES; i++) {
        int byte = hex_byte(text.data + 2 * i);

        if (byte < 0)
            return false;
        key[i] = (uint8_t)byte;
    }
    return true;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* 32 bytes are 43 digits, two bits of the last over, and one `=`, which many leave out. */
static bool read_base64(struct slice text, uint8_t *key)
{
    uint32_t bits = 0;
    size_t n = 0;

    if (text.len == BASE64_BYTES && text.data[BASE64_BYTES - 1] != '=')
        return false;
    for (size_t i = 0; i < BASE64_BYTES - 1; i++) {
        int value = base64_value(text.data[i]);

        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 > 0 && n < SEAL_KEY_BYTES)
            key[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    return (bits & 3) == 0;
}

static bool read_key(struct slice text, uint8_t *key)
{
    if (text.len == LINE_BYTES_MAX)
        return read_hex(text, key);
    return (text.len == BASE64_BYTES || text.len == BASE64_BYTES - 1) && read_base64(text, key);
}

/* Those that a text writes down. */
struct written {
    struct seal_key at[SEAL_KEYS_MAX];
    size_t n;
};

static int read_line(struct written *w, struct slice line)
{
    uint8_t bytes[SEAL_KEY_BYTES];
    int r = 0;

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    line = slice_trim(line);
    if (line.len == 0 || line.data[0] == '#')
        return 0;
    while (r == 0 && line.data) {
        if (!read_key(slice_trim(slice_cut(&line, ',')), bytes))
            r = -EINVAL;
        else if (w->n == SEAL_KEYS_MAX)
            r = -ENOSPC;
        else
            w->at[w->n++] = key_of(bytes);
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return r;
}

static int read_lines(struct written *w, struct slice text, unsigned *out_line)
{
    unsigned at = 0;
    int r = 0;

    while (r == 0 && text.data) {
        at++;
        r = read_line(w, slice_cut(&text, '\n'));
    }
    if (r < 0)
        *out_line = at;
    return r == 0 && w->n == 0 ? -ENODATA : r;
}

int seal_keys_read(struct seal_keys *k, struct slice text, unsigned *out_line)
{
    struct written w = {.n = 0};
    int r = read_lines(&w, text, out_line), first = 0;

    for (size_t i = w.n; r >= 0 && i-- > 0;)
        r = first = add_key(k, &w.at[i]);
    if (r >= 0)
        atomic_store_explicit(&k->first, (size_t)first, memory_order_release);
    OPENSSL_cleanse(&w, sizeof(w));
    return r < 0 ? r : 0;
}

/* -- messages -- */

static EVP_CIPHER_CTX *begin(const struct seal_keys *k, const struct seal_key *key, const uint8_t *nonce,
                             int encrypt)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    struct digest own = make(key, SLICE_OF(LABEL_MESSAGE), nonce);

    must(ctx != NULL);
    must(EVP_CipherInit_ex2(ctx, k->cipher, own.bytes, nonce + HALF, encrypt, NULL));
    OPENSSL_cleanse(&own, sizeof(own));
    return ctx;
}

/* @out: NULL for what is only bound to the message. */
static void update(EVP_CIPHER_CTX *ctx, struct slice in, char *out)
{
    while (in.len > 0) {
        int n = in.len > INT_MAX / 2 ? INT_MAX / 2 : (int)in.len, done;

        must(EVP_CipherUpdate(ctx, (unsigned char *)out, &done, (const unsigned char *)in.data, n));
        in = slice_skip(in, (size_t)n);
        if (out)
            out += n;
    }
}

void seal_bytes(const struct seal_keys *k, struct slice aad, struct slice plain, char *out,
                struct seal_mark *out_mark)
{
    const struct seal_key *key = &k->at[atomic_load_explicit(&k->first, memory_order_acquire)];
    unsigned char none[16];
    EVP_CIPHER_CTX *ctx;
    int n;

    must(atomic_load(&k->n) > 0);
    memcpy(out_mark->key_id, key->id, sizeof(out_mark->key_id));
    random_bytes(out_mark->nonce, sizeof(out_mark->nonce));
    ctx = begin(k, key, out_mark->nonce, 1);
    update(ctx, aad, NULL);
    update(ctx, plain, out);
    must(EVP_CipherFinal_ex(ctx, none, &n));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_BYTES, out_mark->tag));
    EVP_CIPHER_CTX_free(ctx);
}

int seal_open(const struct seal_keys *k, struct slice aad, struct slice sealed, const struct seal_mark *mark,
              char *out)
{
    const struct seal_key *key = find_key(k, mark->key_id);
    uint8_t tag[SEAL_TAG_BYTES];
    unsigned char none[16];
    EVP_CIPHER_CTX *ctx;
    int n, good;

    if (!key)
        return -ENOKEY;
    memcpy(tag, mark->tag, sizeof(tag));
    ctx = begin(k, key, mark->nonce, 0);
    update(ctx, aad, NULL);
    update(ctx, sealed, out);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_BYTES, tag));
    good = EVP_CipherFinal_ex(ctx, none, &n);
    EVP_CIPHER_CTX_free(ctx);
    if (good == 1)
        return 0;
    if (sealed.len > 0)
        memset(out, 0, sealed.len);
    return -EBADMSG;
}
