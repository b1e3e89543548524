/* /config: the configuration in force, and where each value comes from; secrets are masked. SPEC section 12.
 */
#include "api.h"
#include "refrain/base/buf.h"

void api_config(struct api_call *c)
{
    struct api_query changed;
    bool changed_only = api_query(c, "changed", &changed) && slice_eq(changed.value, SLICE_OF("true"));

    if (c->parts.config(c->parts.arg, changed_only, c->out) < 0)
        api_fail(c, 500, "answer_too_large", "the answer is larger than any that is sent", NULL, NULL);
}
