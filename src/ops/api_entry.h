/*
 * api_entry - entries as the API shows them: metadata, and an answer's body where that is asked for.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/jout.h"
#include "refrain/store/inventory.h"

struct api_call; /* api.h */

/** One item of a listing, as an object of the array that @j is in. @prefix: of keys as text. */
void api_entry_write_item(struct jout *j, const struct inventory_item *item, struct slice prefix,
                          int64_t now_ms);

/** The call's first argument is an id; else 404. */
bool api_entry_id_is_good(struct api_call *c);

extern const char *const api_tier_names[INVENTORY_TIERS];
/** The members "not_read": tiers that could not be looked into to the end, and why. */
void api_entry_write_failed(struct jout *j, const enum tier_result result[INVENTORY_TIERS]);
