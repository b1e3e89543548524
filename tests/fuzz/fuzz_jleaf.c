/*
 * jleaf over any text, and over canon's own. For every text:
 * - the walk ends, and what it gives lies in the text, one leaf behind the other;
 * - a canonical text is read to its end.
 */
#include "holds.h"
#include "refrain/wire/canon.h"
#include "refrain/wire/jleaf.h"

static const char *walk(struct slice text)
{
    const char *behind = text.data;
    struct jleaf w;

    for (jleaf_begin(&w, text); jleaf_next(&w);) {
        HOLDS(w.value.len > 0 && w.value.data >= behind &&
              w.value.data + w.value.len <= text.data + text.len);
        HOLDS(w.changed <= w.depth && w.depth <= JLEAF_DEPTH_MAX);
        behind = w.value.data + w.value.len;
    }
    HOLDS(w.at <= w.end);
    return w.at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice text = slice_make(data, len);
    struct canon_rules rules = {.ignored = NULL};
    struct canon_facts facts;
    struct buf canonical = BUF_INIT(len * 6 + 1024);

    if (len > 0)
        (void)walk(text);
    if (canon_json(text, &rules, &canonical, &facts, NULL) == CANON_OK)
        HOLDS(walk(buf_slice(&canonical)) == canonical.data + canonical.len);
    buf_done(&canonical);
    return 0;
}
