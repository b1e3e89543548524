/*
 * reqtext over any text. What is taken for a request:
 * - could be sent: its method, target, names and values are well formed;
 * - written as the text of an HTTP request and read again, is the same.
 */
#include "holds.h"
#include "refrain/wire/reqtext.h"

static void check_parts(const struct reqtext *r)
{
    HOLDS(header_name_ok(r->method));
    HOLDS(slice_eq(r->target, SLICE_OF("*")) || slice_starts(r->target, SLICE_OF("/")));
    HOLDS(fields_names_ok(&r->fields) && fields_values_ok(&r->fields));
    HOLDS(r->has_body || r->body.len == 0);
}

static int write_text(const struct reqtext *r, struct buf *out)
{
    int failed = buf_addf(out, "%.*s %.*s HTTP/1.1\r\n", (int)r->method.len, r->method.data,
                          (int)r->target.len, r->target.data);

    for (size_t i = 0; i < r->fields.n; i++) {
        failed |= buf_add_slice(out, r->fields.at[i].name) | buf_addf(out, ": ");
        failed |= buf_add_slice(out, r->fields.at[i].value) | buf_addf(out, "\r\n");
    }
    return failed | buf_addf(out, "\r\n") | buf_add_slice(out, r->body);
}

/* What says how a body is framed has another meaning there. */
static bool is_framed(const struct reqtext *r)
{
    return fields_find(&r->fields, SLICE_OF("Content-Length")) ||
           fields_find(&r->fields, SLICE_OF("Transfer-Encoding"));
}

static void check_again(const struct reqtext *r, size_t len)
{
    struct buf text = BUF_INIT(len * 4 + 1024);
    struct reqtext_fault fault;
    struct reqtext again;

    HOLDS(write_text(r, &text) == 0);
    HOLDS(reqtext_read(buf_slice(&text), &again, &fault));
    HOLDS(slice_eq(r->method, again.method) && slice_eq(r->target, again.target) &&
          slice_eq(r->body, again.body));
    HOLDS(r->fields.n == again.fields.n);
    for (size_t i = 0; i < r->fields.n; i++)
        HOLDS(slice_eq(r->fields.at[i].name, again.fields.at[i].name) &&
              slice_eq(r->fields.at[i].value, again.fields.at[i].value));
    reqtext_done(&again);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct reqtext_fault fault = {NULL, NULL};
    struct reqtext r;

    if (!reqtext_read(slice_make(data, len), &r, &fault)) {
        HOLDS(fault.where && fault.expected && r.fields.n == 0);
        return 0;
    }
    check_parts(&r);
    if (!is_framed(&r))
        check_again(&r, len);
    reqtext_done(&r);
    return 0;
}
