/*
 * admission - where there are clients, who asks? Before anything is answered, from the cache too; and nothing
 * behind it sees a credential any more: not the key, not the store, not upstream. SPEC section 4, "Scope";
 * docs/clients.md. One way for requests that are served (exchange) and for those that are asked about
 * (explain).
 */
#pragma once
#include <stdbool.h>

#include "refrain/http/clients.h"
#include "refrain/policy/ask.h"
#include "refrain/wire/header.h"

enum admission {
    ADMISSION_GIVEN,
    ADMISSION_PREFLIGHT, /* it cannot bring a credential, and is sent on without one */
    ADMISSION_MISSING,   /* no credential */
    ADMISSION_UNKNOWN,   /* nobody's */
    ADMISSION_SEVERAL,   /* which is meant? */
};

struct admission_request {
    struct slice method;
    struct slice target;   /* raw; becomes what is left of it */
    char *target_bytes;    /* where it lies, or may */
    struct fields *fields; /* classified; lose every credential */
    bool has_body;
    bool key_in_query; /* the API takes its credential as `?key=` */
};

/* Finds clients by tokens; one thread at a time. Remembers whose those were that it has met, so that a token
 * that comes again costs two short keyed sums instead of a SHA-256. */
struct admitter;
struct admitter *admitter_new(void); /* aborts when out of memory */
void admitter_free(struct admitter *a);
/** Forgets all: another roster is in force. */
void admitter_forget(struct admitter *a);

/** Who asks? *@out is set on ADMISSION_GIVEN; on that and ADMISSION_PREFLIGHT @request loses its credentials,
 * otherwise it is left alone. @remember: @roster is the one that @a is asked about until admitter_forget. */
enum admission admit(struct admitter *a, const struct roster *roster, bool remember,
                     struct admission_request *request, const struct client **out);

/** What to tell who is not given admission; static text. */
const char *admission_refusal(enum admission admission);

/** Holds @ask to the namespaces that @client may have: its own, where it has one, else any but another
 * client's. false: Refrain-Namespace says otherwise, and *@out_why tells; what another gateway's header says
 * is dropped. */
bool admission_namespace(const struct roster *roster, const struct client *client, struct ask *ask,
                         const char **out_why);
