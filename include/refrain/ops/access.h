/*
 * access - who may use the API of the admin listener: the bearer token, and on the way there what tells a
 * browser that was talked into asking (Host: DNS rebinding; Origin: another site's page). SPEC section 12.
 *
 * Wrong tokens cost their sender: each address has FAILURES_MAX of them, one more comes back every
 * FAILURE_EVERY_MS, and without one nothing from there is looked at. A fixed number of addresses is
 * remembered; who is forgotten is who failed longest ago.
 *
 * Threads: one at a time. Time is an argument.
 */
#pragma once
#include <stdint.h>
#include <sys/socket.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

enum { ACCESS_FAILURES_MAX = 10, ACCESS_FAILURE_EVERY_MS = 1000, ACCESS_ADDRESSES_MAX = 256 };

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_HOST,     /* Host names neither an address, nor this machine, nor a name it was told */
    ACCESS_ORIGIN,   /* a page of another site asks */
    ACCESS_NO_TOKEN, /* none, or not as `Authorization: Bearer …` */
    ACCESS_WRONG_TOKEN,
    ACCESS_TOO_MANY, /* failures from that address: the token was not looked at */
};

struct access;

/** Aborts when out of memory. */
struct access *access_new(void);
void access_free(struct access *a);
/** Sets the token, which is not empty, and names that Host may give beside addresses and `localhost`. Both
 * are copied. */
void access_set(struct access *a, struct slice token, const struct slice *hosts, size_t hosts_n);

/** Judges a request with these fields (classified) from @peer at @now_ms (monotonic). @out_retry_s: of
 * ACCESS_TOO_MANY. */
enum access_verdict access_judge(struct access *a, const struct fields *fields, const struct sockaddr *peer,
                                 int64_t now_ms, unsigned *out_retry_s);
