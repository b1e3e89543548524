/* A target's keys: what is taken out is not found any more, and nothing else is gone. */
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "refrain/wire/credential.h"

static size_t others(struct slice target, struct slice value)
{
    struct credential_keys keys = credential_keys_of(target);
    size_t n = 0;

    while (credential_keys_next(&keys))
        n += !slice_eq(keys.value, value);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice target = slice_make(data, len), left, again;
    struct credential_keys keys = credential_keys_of(target), after;
    char *in_place = malloc(len + 1);

    if (!in_place)
        return 0;
    if (credential_keys_next(&keys) && keys.value.len <= CREDENTIAL_BYTES_MAX) {
        memcpy(in_place, data, len);
        left = credential_strip_keys(slice_make(in_place, len), keys.value, in_place);
        HOLDS(left.len < len && others(left, keys.value) == others(target, keys.value));
        after = credential_keys_of(left);
        while (credential_keys_next(&after))
            HOLDS(!slice_eq(after.value, keys.value));
        again = credential_strip_keys(left, keys.value, in_place); /* there is nothing left to take */
        HOLDS(again.len == left.len);
    }
    free(in_place);
    return 0;
}
