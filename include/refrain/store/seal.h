/*
 * seal - encrypts bytes that leave the process for disk or Redis, so that whoever reads them there learns
 * nothing, and whoever changes them is found out. AES-256-GCM (NIST SP 800-38D) under a key of its own for
 * each message, which is made of a long-lived one and of half of a random nonce of 192 bits: so one key lasts
 * for any number of messages of any number of instances, and nonces need no counting (decisions/0015).
 *
 * Several keys make rotation: the first seals, all open. A key is known by its id, which is made of the key.
 *
 * Threads: any; keys are added by one at a time, also while others seal and open.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "refrain/base/attr.h"
#include "refrain/base/slice.h"

enum { SEAL_KEY_BYTES = 32, SEAL_NONCE_BYTES = 24, SEAL_TAG_BYTES = 16, SEAL_KEYS_MAX = 16 };

/* What lies beside sealed bytes, which are as long as what they seal. Bytes only: may be copied anywhere. */
struct seal_mark {
    uint8_t key_id[8];
    uint8_t nonce[SEAL_NONCE_BYTES];
    uint8_t tag[SEAL_TAG_BYTES];
};

struct seal_keys;
/** No keys yet. NULL when out of memory. */
struct seal_keys *seal_keys_new(void);
/** Adds one; the first of all seals. Errors: -ENOSPC past SEAL_KEYS_MAX. A key that is there already is not
 * added again. */
ATTR_MUST_USE int seal_keys_add(struct seal_keys *k, const uint8_t key[SEAL_KEY_BYTES]);
/**
 * Adds those that @text writes down, of which the first seals from now on: keys of 64 hex digits or as
 * base64, with line ends or commas between them; empty lines and those that begin with `#` are nothing. Keys
 * that were read before go on opening. Errors: -EINVAL, in *@out_line there is what is no key; -ENOSPC;
 * -ENODATA, there is none: the first one stays what it was.
 */
ATTR_MUST_USE int seal_keys_read(struct seal_keys *k, struct slice text, unsigned *out_line);
/** Cleans the memory. NULL is fine. */
void seal_keys_free(struct seal_keys *k);
bool seal_knows(const struct seal_keys *k, const uint8_t key_id[8]);

/**
 * Seals @plain into @out, which has room for as many bytes and may be @plain itself. @aad is bound to it, but
 * lies elsewhere: opening wants the same. There must be a key. Aborts when out of memory.
 */
void seal_bytes(const struct seal_keys *k, struct slice aad, struct slice plain, char *out,
                struct seal_mark *out_mark);
/**
 * Opens @sealed into @out, which has room for as many bytes and may be @sealed itself.
 * Errors: -ENOKEY, sealed by a key that is not among @k; -EBADMSG, not what was sealed, or with another @aad:
 * @out is filled with zeros then.
 */
ATTR_MUST_USE int seal_open(const struct seal_keys *k, struct slice aad, struct slice sealed,
                            const struct seal_mark *mark, char *out);
