/*
 * prompt - the sizes of prompts, in four tiers: SPEC section 4. Pure. Threads: any.
 */
#pragma once
#include <stddef.h>

#include "refrain/base/slice.h"

/* Prompts by their characters; metadata and a label of metrics, never part of a key. */
enum prompt_tier { PROMPT_SMALL, PROMPT_MEDIUM, PROMPT_LARGE, PROMPT_XLARGE, PROMPT_TIER_COUNT };
enum prompt_tier prompt_tier_of(size_t characters);
/** Characters of a tier's prompts: from *@out_from up to, but not, *@out_to. */
void prompt_tier_range(enum prompt_tier tier, size_t *out_from, size_t *out_to);
const char *prompt_tier_name(enum prompt_tier tier); /* "small" */
/** By name; PROMPT_TIER_COUNT when it is none. */
enum prompt_tier prompt_tier_by_name(struct slice name);
