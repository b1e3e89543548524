#include "refrain/wire/template.h"

#include <string.h>

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._/-", c));
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7F;
}

bool template_next(struct slice *rest, struct slice *out, bool *out_field, bool *out_bad)
{
    const char *open, *close;

    *out_bad = false;
    if (rest->len == 0)
        return false;
    open = memchr(rest->data, '{', rest->len);
    if (open != rest->data) {
        size_t n = open ? (size_t)(open - rest->data) : rest->len;

        *out_bad = memchr(rest->data, '}', n) != NULL;
        *out = slice_make(rest->data, n);
        *out_field = false;
        *rest = slice_skip(*rest, n);
        return !*out_bad;
    }
    close = memchr(rest->data, '}', rest->len);
    *out_bad = !close || close == open + 1;
    if (*out_bad)
        return false;
    *out = slice_make(open + 1, (size_t)(close - open) - 1);
    for (size_t i = 0; i < out->len; i++)
        *out_bad = *out_bad || !(is_name_byte(out->data[i]) && out->data[i] != '/');
    *out_field = true;
    *rest = slice_skip(*rest, out->len + 2);
    return !*out_bad;
}

const char *template_fault(struct slice text, bool pattern)
{
    struct slice piece;
    bool field, bad;

    if (text.len == 0)
        return "it is empty";
    while (template_next(&text, &piece, &field, &bad))
        for (size_t i = 0; !field && i < piece.len; i++) {
            if (is_control(piece.data[i]) || (!pattern && piece.data[i] == ','))
                return "a byte that stands in no name";
            if (pattern && !is_name_byte(piece.data[i]) && !strchr(":*?", piece.data[i]))
                return "a byte that stands in no entry's name: NAMESPACE:OPERATION:MODEL:HEX";
        }
    return bad ? "a brace without its other half, or without the name of a field in between" : NULL;
}
