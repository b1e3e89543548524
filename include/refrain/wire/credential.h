/*
 * credential - what a request brings to prove who it is, from where SDKs put their API key, and taking it out
 * of the request: Authorization (a Bearer token), x-api-key, api-key, x-goog-api-key, and `?key=` of Google's
 * APIs. RFC 6750 section 2.1.
 *
 * Pure: no allocation, no locks.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

/* A longer one is nobody's. */
enum { CREDENTIAL_BYTES_MAX = 512 };

enum credential_found {
    CREDENTIAL_NONE,
    CREDENTIAL_ONE,     /* be it given several times */
    CREDENTIAL_SEVERAL, /* that differ */
};

/**
 * The credential in @fields (classified): *@out, on CREDENTIAL_ONE, borrows from them. A field without a
 * value counts as not given; of Authorization, what stands behind `Bearer`, or all of it under another
 * scheme.
 */
enum credential_found credential_of_fields(const struct fields *fields, struct slice *out);

/* A walk over the `key` parameters of a target's query. */
struct credential_keys {
    struct slice rest;                /* of the query */
    struct slice value;               /* decoded; as it stands where that is too long to be anybody's */
    char bytes[CREDENTIAL_BYTES_MAX]; /* where it lies */
};
struct credential_keys credential_keys_of(struct slice target);
/** Finds the next parameter that upstream may take for `key`, however it is coded, and has a value; false:
 * there is none. */
bool credential_keys_next(struct credential_keys *k);

/** Takes every credential out of @fields. */
void credential_strip_fields(struct fields *fields);
/** Takes the `key` parameters out whose value is @value: writes the rest of @target at @out, which has room
 * for all of it and may be where it lies. */
struct slice credential_strip_keys(struct slice target, struct slice value, char *out);
/** The same with every `key` parameter, whatever its value, and without one. */
struct slice credential_strip_every_key(struct slice target, char *out);
