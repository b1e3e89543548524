#include "refrain/wire/prompt.h"

#include <stdint.h>

static const struct {
    const char *name;
    size_t below; /* characters */
} tiers[PROMPT_TIER_COUNT] = {
    [PROMPT_SMALL] = {"small", 500},
    [PROMPT_MEDIUM] = {"medium", 5000},
    [PROMPT_LARGE] = {"large", 50000},
    [PROMPT_XLARGE] = {"xlarge", SIZE_MAX},
};

enum prompt_tier prompt_tier_of(size_t characters)
{
    enum prompt_tier tier = PROMPT_SMALL;

    while (tier < PROMPT_XLARGE && characters >= tiers[tier].below)
        tier++;
    return tier;
}

void prompt_tier_range(enum prompt_tier tier, size_t *out_from, size_t *out_to)
{
    *out_from = tier == PROMPT_SMALL ? 0 : tiers[tier - 1].below;
    *out_to = tiers[tier].below;
}

const char *prompt_tier_name(enum prompt_tier tier)
{
    return tiers[tier].name;
}

enum prompt_tier prompt_tier_by_name(struct slice name)
{
    enum prompt_tier tier = PROMPT_SMALL;

    while (tier < PROMPT_TIER_COUNT && !slice_eq(name, slice_str(tiers[tier].name)))
        tier++;
    return tier;
}
