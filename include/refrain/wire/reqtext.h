/*
 * reqtext - a request as people write it down, to ask about it: a JSON object, or the text of an HTTP
 * request.
 *
 *     {"method": "POST", "url": "https://host/v1/chat/completions", "headers": {"Name": "value"}, "body":
 * {…}}
 *
 *     POST /v1/chat/completions HTTP/1.1
 *     Name: value
 *
 *     {…}
 *
 * In JSON, `path` and `target` are other words for `url`, headers may also be a list of [name, value], and
 * body is JSON, which counts as it is written (and as application/json where no Content-Type says otherwise),
 * or a string that holds the body. Without a method it is POST where there is a body, else GET. As text,
 * lines end in CRLF or LF; the body is what follows the empty line, cut to Content-Length where that is given
 * and less. Bytes from outside.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

struct reqtext {
    struct slice method;
    struct slice target; /* origin-form, or `*` */
    struct slice body;
    bool has_body;
    struct fields fields; /* good names and values; not classified */
    struct buf held;      /* what had to be decoded */
};

/* What is wrong, for whoever wrote it: where, and what was expected; static text. */
struct reqtext_fault {
    const char *where, *expected;
};

/**
 * Reads @text into @out, which borrows from it. false: it is no request; @out_fault is written, and @out is
 * empty. Threads: any.
 */
bool reqtext_read(struct slice text, struct reqtext *out, struct reqtext_fault *out_fault);
void reqtext_done(struct reqtext *r);
