#include "ledger_line.h"

#include <inttypes.h>

#include "refrain/base/clock.h"
#include "refrain/store/fences.h"
#include "refrain/wire/jscan.h"

int ledger_line_add(struct buf *out, const char *tier, int64_t seq, const struct selector *which)
{
    const struct instances_msg m = {.kind = MSG_INVALIDATED,
                                    .source = "0000000000000000", /* nobody's */
                                    .at_ms = seq / 1000,
                                    .which = *which};
    size_t was = out->len;
    int r = buf_addf(out, "%s %" PRId64 " ", tier, seq);

    if (r == 0)
        r = instances_msg_write(&m, out);
    if (r == 0)
        r = buf_add_byte(out, '\n');
    if (r < 0)
        out->len = was;
    return r;
}

bool ledger_line_read(struct slice line, struct slice *out_tier, int64_t *out_seq, struct instances_msg *out)
{
    int64_t latest = clock_wall_ms() * 1000 + FENCES_AHEAD_MAX_US, seq;
    struct slice tier = slice_cut(&line, ' '), number = slice_cut(&line, ' ');

    seq = jscan_count((struct jscan_value){JSCAN_NUMBER, number}, -1);
    if (tier.len == 0 || seq < 0 || !instances_msg_read(line, out) || out->kind != MSG_INVALIDATED)
        return false;
    *out_tier = tier;
    *out_seq = seq < latest ? seq : latest;
    return true;
}
