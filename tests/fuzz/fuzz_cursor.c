/*
 * inventory_resume over any text. What is taken for a cursor:
 * - names a tier that there may be, and no more bytes of that tier's own than are kept;
 * - says in hex, byte by byte, what that tier is handed.
 */
#include "holds.h"
#include "refrain/store/inventory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size}, rest = text;
    struct inventory v = {.stage = 0};

    if (inventory_resume(&v, text)) {
        (void)slice_cut(&rest, '.');
        HOLDS(rest.data && v.stage <= INVENTORY_LOWER_MAX);
        HOLDS(v.at.len <= INVENTORY_CURSOR_MAX);
        HOLDS(v.stage == 0 ? v.at.len == 0 : v.at.len * 2 == rest.len);
        for (size_t i = 0; i < v.at.len; i++) {
            char hex[3];

            (void)snprintf(hex, sizeof(hex), "%02x", (unsigned char)v.at.data[i]);
            HOLDS(memcmp(hex, rest.data + 2 * i, 2) == 0);
        }
    }
    inventory_done(&v);
    return 0;
}
