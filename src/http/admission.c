#include "refrain/http/admission.h"

#include <stdlib.h>

#include "refrain/base/attr.h"
#include "refrain/base/siphash.h"
#include "refrain/wire/credential.h"

enum { KNOWN = 256 }; /* a power of two */

/* A token that was somebody's, as two sums under keys that nobody knows: together they are as long as a guess
 * has to be, and tell nothing of the token. */
struct known {
    uint64_t sums[2];
    const struct client *client; /* NULL: empty */
};

struct admitter {
    struct sha256 *hash;
    struct siphash_key keys[2];
    struct known
        known[KNOWN]; /* by their sums; the one that comes takes the place of the one that was there */
};

struct admitter *admitter_new(void)
{
    struct admitter *a = calloc(1, sizeof(*a));

    if (!a)
        abort();
    a->hash = sha256_new();
    random_bytes(a->keys, sizeof(a->keys));
    return a;
}

void admitter_free(struct admitter *a)
{
    if (!a)
        return;
    sha256_free(a->hash);
    free(a);
}

void admitter_forget(struct admitter *a)
{
    memset(a->known, 0, sizeof(a->known));
}

/* -- whose is it? -- */

static const struct client *by_digest(struct admitter *a, const struct roster *roster, struct slice token)
{
    struct digest sum;

    sha256_begin(a->hash);
    sha256_add(a->hash, token);
    sum = sha256_end(a->hash);
    return roster_find(roster, &sum);
}

static uint64_t sum_of(const struct siphash_key *key, struct slice token)
{
    struct siphash sum;

    siphash_begin(&sum, key);
    siphash_add(&sum, token);
    return siphash_end(&sum);
}

static const struct client *whose(struct admitter *a, const struct roster *roster, bool remember,
                                  struct slice token)
{
    uint64_t sums[2];
    const struct client *client;
    struct known *known;

    if (token.len > CREDENTIAL_BYTES_MAX)
        return NULL;
    if (!remember)
        return by_digest(a, roster, token);
    sums[0] = sum_of(&a->keys[0], token);
    sums[1] = sum_of(&a->keys[1], token);
    known = &a->known[sums[0] % KNOWN];
    if (known->client && ((known->sums[0] ^ sums[0]) | (known->sums[1] ^ sums[1])) == 0)
        return known->client;
    client = by_digest(a, roster, token);
    if (client)
        *known = (struct known){{sums[0], sums[1]}, client};
    return client;
}

/* -- what does the request bring? -- */

/* The Fetch standard, section 4.8: an OPTIONS by which a browser asks on behalf of a page, never with a
 * credential. */
static bool is_preflight(const struct admission_request *r)
{
    return slice_eq(r->method, SLICE_OF("OPTIONS")) && !r->has_body &&
           fields_find(r->fields, SLICE_OF("Origin")) &&
           fields_find(r->fields, SLICE_OF("Access-Control-Request-Method"));
}

/* `?key=` is a credential where the API says so, where nothing else is one, and where it is somebody's token;
 * else it is content like any other. false: there are several. @bytes holds one that is taken from there. */
static bool read_keys(struct admitter *a, const struct roster *roster, const struct admission_request *r,
                      struct slice *token, char *bytes)
{
    struct credential_keys keys = credential_keys_of(r->target);
    bool alone = token->len == 0;

    while (credential_keys_next(&keys)) {
        if (token->len == 0 && keys.value.len <= CREDENTIAL_BYTES_MAX) {
            memcpy(bytes, keys.value.data, keys.value.len);
            *token = slice_make(bytes, keys.value.len);
        } else if (token->len == 0) {
            *token = keys.value; /* nobody's, in the target */
        } else if (!slice_eq(keys.value, *token) &&
                   (alone || r->key_in_query || whose(a, roster, false, keys.value))) {
            return false;
        }
    }
    return true;
}

enum admission admit(struct admitter *a, const struct roster *roster, bool remember,
                     struct admission_request *r, const struct client **out)
{
    char bytes[CREDENTIAL_BYTES_MAX];
    bool has_query = r->target.len > 0 && memchr(r->target.data, '?', r->target.len);
    struct slice token = {NULL, 0};
    const struct client *client;

    if (credential_of_fields(r->fields, &token) == CREDENTIAL_SEVERAL ||
        (has_query && !read_keys(a, roster, r, &token, bytes)))
        return ADMISSION_SEVERAL;
    if (token.len == 0 && !is_preflight(r))
        return ADMISSION_MISSING;
    client = token.len > 0 ? whose(a, roster, remember, token) : NULL;
    if (token.len > 0 && !client)
        return ADMISSION_UNKNOWN;
    if (token.len > 0 && has_query)
        r->target = credential_strip_keys(r->target, token, r->target_bytes);
    credential_strip_fields(r->fields); /* not before: the token lies in one of them */
    *out = client;
    return client ? ADMISSION_GIVEN : ADMISSION_PREFLIGHT;
}

const char *admission_refusal(enum admission admission)
{
    static const char *const texts[] = {
        [ADMISSION_GIVEN] = "",
        [ADMISSION_PREFLIGHT] = "",
        [ADMISSION_MISSING] = "this needs a client's token, in place of the API key",
        [ADMISSION_UNKNOWN] = "the token, or API key, is not one of a client here",
        [ADMISSION_SEVERAL] = "two credentials came that differ; send the client's token alone",
    };

    return texts[admission];
}

bool admission_namespace(const struct roster *roster, const struct client *client, struct ask *ask,
                         const char **out_why)
{
    struct slice asked = ask->namespace_, own = client->conf.namespace_;
    bool allowed = own.len > 0 ? slice_eq(asked, own) : !roster_keeps_namespace(roster, asked, client);

    if (asked.len == 0 || !allowed)
        ask->namespace_ = own;
    if (asked.len == 0 || allowed || !ask->own_namespace)
        return true;
    *out_why = own.len > 0 ? "Refrain-Namespace is not allowed here: this client has a namespace of its own"
                           : "Refrain-Namespace names the namespace of another client";
    return false;
}
