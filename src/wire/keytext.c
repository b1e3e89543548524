#include "refrain/wire/keytext.h"

#include <stdbool.h>

static bool stands_in_text(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '/' || c == '-';
}

static int add_plain(struct buf *out, struct slice text)
{
    int r = buf_reserve(out, text.len);

    for (size_t i = 0; r == 0 && i < text.len; i++)
        r = buf_add_byte(out, stands_in_text(text.data[i]) ? text.data[i] : '_');
    return r;
}

int keytext_add_model(struct buf *out, struct slice model)
{
    if (model.len == 0)
        return buf_add_byte(out, '-');
    return add_plain(out,
                     slice_make(model.data, model.len < KEYTEXT_MODEL_MAX ? model.len : KEYTEXT_MODEL_MAX));
}

static int add_parts(struct buf *out, struct slice prefix, struct slice namespace_, struct slice operation,
                     struct slice model)
{
    int r = buf_add_slice(out, prefix);

    if (r == 0 && prefix.len > 0)
        r = buf_add_byte(out, ':');
    if (r == 0)
        r = add_plain(out, namespace_);
    if (r == 0)
        r = buf_add_byte(out, ':');
    if (r == 0)
        r = add_plain(out, operation);
    if (r == 0)
        r = buf_add_byte(out, ':');
    return r == 0 ? keytext_add_model(out, model) : r;
}

int keytext_add(struct buf *out, struct slice prefix, struct slice namespace_, struct slice operation,
                struct slice model, const struct digest *key)
{
    char hex[DIGEST_HEX_LEN + 2] = ":";
    size_t before = out->len;
    int r = add_parts(out, prefix, namespace_, operation, model);

    digest_hex(key, hex + 1);
    if (r == 0)
        r = buf_add(out, hex, DIGEST_HEX_LEN + 1);
    if (r < 0)
        out->len = before;
    return r;
}
