#include "refrain/base/glob.h"

/*
 * The run behind a `*` is best placed as early in the text as it fits, since that leaves the most to the rest
 * of the pattern. So only the last `*` met is ever gone back to, one byte further on.
 */
bool glob_matches(struct slice pattern, struct slice text)
{
    size_t p = 0, t = 0, star = 0, star_text = 0;
    bool starred = false;

    while (t < text.len) {
        if (p < pattern.len && pattern.data[p] == '*') {
            starred = true;
            star = ++p;
            star_text = t;
        } else if (p < pattern.len && (pattern.data[p] == '?' || pattern.data[p] == text.data[t])) {
            p++;
            t++;
        } else if (starred) {
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.data[p] == '*')
        p++;
    return p == pattern.len;
}
