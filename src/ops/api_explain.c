/* /explain: what would become of a request. It touches nothing, so it does not count as a change. */
#include "api.h"
#include "refrain/base/attr.h"
#include "refrain/base/clock.h"
#include "refrain/http/explain.h"
#include "refrain/ops/explain_json.h"
#include "refrain/wire/reqtext.h"

void api_explain(struct api_call *c)
{
    struct explain_show show = {
        .site = c->site, .prefix = c->parts.key_prefix, .breakers = c->parts.breakers};
    AUTO(reqtext_done) struct reqtext text;
    struct reqtext_fault fault;
    struct explain_request request;
    AUTO(explanation_done) struct explanation e = {.trace = NULL};

    if (!reqtext_read(c->body, &text, &fault)) {
        api_fail(c, 400, "request_invalid", "this is no request that could be explained", fault.where,
                 fault.expected);
        return;
    }
    request = (struct explain_request){text.method, text.target, text.body, text.has_body, &text.fields};
    if (explain(c->site, &request, clock_wall_ms(), clock_mono_ms(), &e) < 0) {
        api_fail(c, 503, "overloaded", "out of memory", NULL, NULL);
        return;
    }
    if (explain_json(&e, &request, &show, c->out) < 0)
        api_fail(c, 500, "answer_too_large", "the answer is larger than any that is sent", NULL, NULL);
}
