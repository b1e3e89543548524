/*
 * glob against its definition, by a table instead of by search: the input's first byte says how much of it is
 * the pattern.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/glob.h"

enum { TEXT_MAX = 256 };

/* matches[i] tells whether the pattern so far is what the first i bytes of the text are. */
static bool defined(struct slice pattern, struct slice text)
{
    bool matches[TEXT_MAX + 1] = {true};

    for (size_t p = 0; p < pattern.len; p++) {
        bool star = pattern.data[p] == '*', before = matches[0];

        matches[0] = matches[0] && star;
        for (size_t t = 1; t <= text.len; t++) {
            bool now = matches[t];

            if (star)
                matches[t] = now || matches[t - 1];
            else
                matches[t] = before && (pattern.data[p] == '?' || pattern.data[p] == text.data[t - 1]);
            before = now;
        }
    }
    return matches[text.len];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice pattern, text;
    size_t cut;

    if (len == 0 || len > TEXT_MAX)
        return 0;
    cut = data[0] < len - 1 ? data[0] : len - 1;
    pattern = slice_make(data + 1, cut);
    text = slice_make(data + 1 + cut, len - 1 - cut);
    HOLDS(glob_matches(pattern, text) == defined(pattern, text));
    HOLDS(glob_matches(SLICE_OF("*"), text));
    return 0;
}
