/*
 * tier_redis - the Redis tier as configuration asks for it, and what the log tells of it.
 */
#pragma once

struct config;
struct record_codec;
struct tier;

/** The tier, or NULL where there is no tiers.redis.url. Errors: -ENOMEM. */
int tier_redis_make(const struct config *conf, const struct record_codec *codec, struct tier **out);
