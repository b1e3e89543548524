/*
 * secret_check - does this instance have the secret that Redis was filled with? Keys are made with it, so one
 * that has another finds nothing of what the others store, and they nothing of its. SPEC section 4.
 *
 * What is kept in Redis, at PREFIX:secret-check, is a sum that tells nothing of the secret. Whoever comes
 * first leaves it, for thirty days from then.
 *
 * Threads: the loop's.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/loop.h"
#include "refrain/base/slice.h"
#include "refrain/store/redis.h"

struct secret_check;

struct secret_check_conf {
    const struct redis_conf *redis; /* copied */
    const char *prefix;             /* copied */
    struct slice secret;            /* borrowed for the call */
    /* Once, when Redis has told. @same: it has ours, or had none. */
    void (*on_told)(void *arg, bool same);
    void *arg;
};

/** Asks by a connection of its own, for as long as it takes to get one; ends that when it is told. NULL when
 * out of memory. */
struct secret_check *secret_check_new(struct loop *l, const struct secret_check_conf *conf);
/** Not within on_told. NULL is fine. */
void secret_check_free(struct secret_check *c);
