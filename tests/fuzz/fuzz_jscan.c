/*
 * jscan against jansson, which reads the same grammar by other means. For every text:
 * - what jansson reads is valid, and what is valid jansson reads, but for what is known to differ;
 * - a member is of the same kind to both;
 * - no cut of an object or array is valid.
 */
#include <jansson.h>
#include <string.h>

#include "holds.h"
#include "refrain/wire/jscan.h"

static json_t *load(struct slice text, json_error_t *error)
{
    return json_loadb(text.data, text.len,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES,
                      error);
}

/* Grammar both know, but jansson holds values in C and cannot take these. */
static bool is_known_refusal(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_numeric_overflow:
    case json_error_null_byte_in_key:
    case json_error_duplicate_key:
        return true;
    default:
        return strstr(error->text, "invalid Unicode") != NULL; /* half a surrogate pair, escaped */
    }
}

static enum jscan_kind kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return JSCAN_OBJECT;
    case JSON_ARRAY:
        return JSCAN_ARRAY;
    case JSON_STRING:
        return JSCAN_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return JSCAN_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSCAN_BOOL;
    case JSON_NULL:
        break;
    }
    return JSCAN_NULL;
}

static void check_member(struct slice text, json_t *object, const char *name)
{
    struct slice value = {NULL, 0};
    enum jscan_kind kind = jscan_member(text, slice_str(name), &value);
    json_t *member = json_object_get(object, name);

    HOLDS(kind == JSCAN_ABSENT ||
          (value.data >= text.data && value.data + value.len <= text.data + text.len));
    if (memchr(text.data, '\\', text.len))
        return; /* a name may be written in other ways */
    HOLDS((kind != JSCAN_ABSENT) == (member != NULL));
    HOLDS(!member || kind == kind_of(member));
    HOLDS(!member || kind == JSCAN_STRING || jscan_valid(value));
}

static size_t depth_of(struct slice text) /* at most; strings count too */
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '[' || text.data[i] == '{';
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice text = slice_make(data, len);
    bool valid = jscan_valid(text);
    json_error_t error;
    json_t *root;

    (void)jscan_member(text, SLICE_OF("error"), NULL);
    if (depth_of(text) > JSCAN_DEPTH_MAX)
        return 0;
    root = load(text, &error);
    HOLDS(valid || !root || memchr(text.data, '\0', len)); /* jansson passes over some NULs */
    HOLDS(!valid || root || is_known_refusal(&error));
    if (root && valid && json_is_object(root)) {
        check_member(text, root, "error");
        check_member(text, root, "type");
    }
    if (root && valid && (json_is_object(root) || json_is_array(root)) && len < 256)
        for (size_t cut = 0; cut < len && text.data[cut] != '\0'; cut++)
            if (memchr(data + cut, data[0] == '{' ? '}' : ']', len - cut) &&
                (data[0] == '{' || data[0] == '['))
                HOLDS(!jscan_valid(slice_make(text.data, cut)));
    json_decref(root);
    return 0;
}
