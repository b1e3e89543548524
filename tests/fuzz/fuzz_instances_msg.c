/* instances_msg against itself: what is read means the same when it is written and read once more, and stays
 * within its bounds. */
#include "../../src/store/instances_msg.h"

#include "holds.h"
#include "refrain/base/attr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct instances_msg first, again;
    AUTO(buf_done) struct buf text = BUF_INIT(1 << 20);
    AUTO(buf_done) struct buf twice = BUF_INIT(1 << 20);

    if (!instances_msg_read(slice_make(data, len), &first))
        return 0;
    HOLDS(instances_msg_write(&first, &text) == 0);
    HOLDS(text.len <= (first.kind == MSG_ANSWER ? MSG_ANSWER_BYTES_MAX : MSG_BYTES_MAX));
    HOLDS(instances_msg_read(buf_slice(&text), &again));
    HOLDS(first.kind == again.kind && first.at_ms == again.at_ms && first.ask == again.ask);
    HOLDS(selector_eq(&first.which, &again.which) && first.sum == again.sum);
    HOLDS(slice_eq(first.sums, again.sums) && instances_msg_sums_n(&first) <= MSG_SUMS_MAX);
    HOLDS(instances_msg_write(&again, &twice) == 0);
    HOLDS(slice_eq(buf_slice(&text), buf_slice(&twice)));
    return 0;
}
