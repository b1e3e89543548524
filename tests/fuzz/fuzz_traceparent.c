/* Reads a header value as traceparent: what is taken for a trace id may stand in a log, and is all of the
 * value that has a say, its parent id, flags and what may follow aside. */
#include "holds.h"
#include "refrain/wire/traceparent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice value = slice_make(data, len), trace = {NULL, 0}, again;
    char whole[] = "00-00000000000000000000000000000000-0000000000000001-00";

    if (!traceparent_read(value, &trace)) {
        HOLDS(trace.data == NULL);
        return 0;
    }
    HOLDS(trace.len == TRACE_ID_LEN && trace.data >= value.data &&
          trace.data + trace.len <= value.data + value.len);
    for (size_t i = 0; i < trace.len; i++)
        HOLDS(strchr("0123456789abcdef", trace.data[i]) && trace.data[i] != '\0');
    memcpy(whole + 3, trace.data, trace.len);
    HOLDS(traceparent_read(slice_str(whole), &again) && slice_eq(again, trace));
    return 0;
}
