/*
 * explain_json - what explain found, as JSON: for POST /api/v1/explain, and for the command line where no
 * instance runs. docs/admin-api.md tells the members.
 */
#pragma once
#include "refrain/base/buf.h"
#include "refrain/http/explain.h"

struct breakers; /* http/breakers.h */

struct explain_show {
    const struct site *site;
    struct slice prefix;       /* of keys as text */
    bool offline;              /* no instance was asked: what is held, and what came lately, is not known */
    bool secret_is_unknown;    /* the server's: a key with a credential in it would be another one */
    struct breakers *breakers; /* NULL: not known */
};

/** Appends one JSON object and a newline. Credentials and `?key=` values are masked. Errors: as buf_reserve.
 */
int explain_json(const struct explanation *e, const struct explain_request *r,
                 const struct explain_show *show, struct buf *out);
