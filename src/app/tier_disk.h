/*
 * tier_disk - the disk tier as configuration asks for it, and what an operator hears of it.
 */
#pragma once
#include "refrain/store/record.h"
#include "refrain/store/tier.h"

struct config;

/** 0, with NULL where no path is configured; or a negative errno, and why has been logged. */
int tier_disk_make(const struct config *conf, const struct record_codec *codec, struct tier **out);
