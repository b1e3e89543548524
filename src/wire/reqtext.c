#include "refrain/wire/reqtext.h"

#include <jansson.h>

#include "refrain/base/attr.h"
#include "refrain/wire/jscan.h"

struct reading {
    struct reqtext *out;
    struct reqtext_fault *fault;
};

static bool fail(struct reading *r, const char *where, const char *expected)
{
    *r->fault = (struct reqtext_fault){where, expected};
    return false;
}

/* -- what both forms have -- */

static bool take_method(struct reading *r, struct slice method)
{
    r->out->method = method;
    return header_name_ok(method) || fail(r, "method", "a method such as POST");
}

/* Of an absolute URL, scheme and authority are left out: where it goes is the route's business. */
static struct slice origin_form(struct slice url)
{
    static const struct slice schemes[] = {SLICE("http://"), SLICE("https://")};
    const char *slash;

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (!slice_starts(url, schemes[i]))
            continue;
        url = slice_skip(url, schemes[i].len);
        slash = memchr(url.data, '/', url.len);
        return slash ? slice_skip(url, (size_t)(slash - url.data)) : SLICE_OF("/");
    }
    return url;
}

static bool take_target(struct reading *r, struct slice url)
{
    struct slice target = origin_form(url);

    r->out->target = target;
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.data[i] <= ' ' || target.data[i] == 0x7F || target.data[i] == '#')
            return fail(r, "url", "a path and a query without spaces, controls and #");
    if (slice_starts(target, SLICE_OF("/")) || slice_eq(target, SLICE_OF("*")))
        return true;
    return fail(r, "url", "a path that begins with /, or an http or https URL");
}

static bool take_header(struct reading *r, struct slice name, struct slice value)
{
    value = slice_trim(value);
    if (!header_name_ok(name))
        return fail(r, "headers", "names of header fields: letters, digits, - and the like");
    if (!header_value_ok(value))
        return fail(r, "headers", "values without control characters");
    if (fields_add(&r->out->fields, name, value) < 0)
        return fail(r, "headers", "at most 128 header fields");
    return true;
}

/* -- JSON -- */

/* What a JSON string says; where nothing is escaped, that is how it is written. */
static bool decode(struct reading *r, struct jscan_value value, const char *where, struct slice *out)
{
    struct slice quoted = {value.text.data - 1, value.text.len + 2};
    json_t *text;
    int failed;

    if (value.kind != JSCAN_STRING)
        return fail(r, where, "a string");
    *out = value.text;
    if (!value.text.len || !memchr(value.text.data, '\\', value.text.len))
        return true;
    text = json_loadb(quoted.data, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!text)
        return fail(r, where, "a string of whole characters");
    *out = slice_make(r->out->held.data + r->out->held.len, json_string_length(text));
    failed = buf_add(&r->out->held, json_string_value(text), json_string_length(text)); /* there is room */
    json_decref(text);
    return failed == 0 || fail(r, where, "less text");
}

static bool read_header_values(struct reading *r, struct slice name, struct jscan_value value)
{
    struct jscan_walk w = jscan_walk(value);
    struct jscan_item item;
    struct slice text;

    if (value.kind != JSCAN_ARRAY)
        return decode(r, value, "headers", &text) && take_header(r, name, text);
    while (jscan_next(&w, &item))
        if (!decode(r, item.value, "headers", &text) || !take_header(r, name, text))
            return false;
    return true;
}

static bool read_header_pair(struct reading *r, struct jscan_value pair)
{
    struct jscan_walk w = jscan_walk(pair);
    struct jscan_item name, value, more;
    struct slice text;

    if (pair.kind != JSCAN_ARRAY || !jscan_next(&w, &name) || !jscan_next(&w, &value) ||
        jscan_next(&w, &more))
        return fail(r, "headers", "pairs: [\"Name\", \"value\"]");
    return decode(r, name.value, "headers", &text) && read_header_values(r, text, value.value);
}

static bool read_headers(struct reading *r, struct jscan_value value)
{
    struct jscan_walk w = jscan_walk(value);
    struct jscan_item item;

    if (value.kind != JSCAN_OBJECT && value.kind != JSCAN_ARRAY)
        return fail(r, "headers", "an object of names and values, or a list of [name, value]");
    while (jscan_next(&w, &item))
        if (value.kind == JSCAN_OBJECT ? !read_header_values(r, item.name, item.value)
                                       : !read_header_pair(r, item.value))
            return false;
    return true;
}

static bool read_body(struct reading *r, struct jscan_value value)
{
    r->out->has_body = value.kind != JSCAN_NULL;
    if (value.kind == JSCAN_STRING)
        return decode(r, value, "body", &r->out->body);
    if (r->out->has_body)
        r->out->body = value.text;
    return true;
}

static bool read_member(struct reading *r, const struct jscan_item *item)
{
    struct slice text;

    if (slice_eq(item->name, SLICE_OF("method")))
        return decode(r, item->value, "method", &text) && take_method(r, text);
    if (slice_eq(item->name, SLICE_OF("url")) || slice_eq(item->name, SLICE_OF("path")) ||
        slice_eq(item->name, SLICE_OF("target")))
        return decode(r, item->value, "url", &text) && take_target(r, text);
    if (slice_eq(item->name, SLICE_OF("headers")))
        return read_headers(r, item->value);
    if (slice_eq(item->name, SLICE_OF("body")))
        return read_body(r, item->value);
    return fail(r, "a member that is not known", "method, url (or path, or target), headers and body");
}

/* SDKs name the type of what they send; who writes JSON by hand need not. */
static bool complete_json(struct reading *r, bool body_is_json)
{
    if (!r->out->target.data)
        return fail(r, "url", "the path that is asked, such as /v1/chat/completions");
    if (!r->out->method.data)
        r->out->method = r->out->has_body ? SLICE_OF("POST") : SLICE_OF("GET");
    if (!body_is_json || fields_find(&r->out->fields, SLICE_OF("Content-Type")))
        return true;
    return take_header(r, SLICE_OF("Content-Type"), SLICE_OF("application/json"));
}

static bool read_json(struct reading *r, struct slice text)
{
    struct jscan_value root = jscan_root(text);
    struct jscan_walk w = jscan_walk(root);
    struct jscan_item item;
    bool body_is_json = false;

    if (!jscan_valid(text))
        return fail(r, "the request", "JSON, which this is not, or the text of an HTTP request");
    if (buf_reserve(&r->out->held, text.len) < 0)
        return fail(r, "the request", "less text");
    while (jscan_next(&w, &item)) {
        if (!read_member(r, &item))
            return false;
        if (slice_eq(item.name, SLICE_OF("body")))
            body_is_json = r->out->has_body && item.value.kind != JSCAN_STRING;
    }
    return complete_json(r, body_is_json);
}

/* -- the text of an HTTP request -- */

static struct slice take_line(struct slice *rest)
{
    struct slice line = slice_cut(rest, '\n');

    if (slice_ends(line, SLICE_OF("\r")))
        line.len--;
    return line;
}

static bool read_request_line(struct reading *r, struct slice line)
{
    struct slice rest = line, method = slice_cut(&rest, ' '), target = slice_cut(&rest, ' ');

    if (!header_name_ok(method) || !target.len || (rest.data && !slice_starts(rest, SLICE_OF("HTTP/1."))))
        return fail(r, "the first line", "METHOD /path HTTP/1.1, or a JSON object");
    return take_method(r, method) && take_target(r, target);
}

static bool read_field_line(struct reading *r, struct slice line)
{
    struct slice value = line, name = slice_cut(&value, ':');

    if (!value.data)
        return fail(r, "headers", "Name: value on each line, and an empty line behind them");
    if (slice_ieq(name, SLICE_OF("Transfer-Encoding")))
        return fail(r, "headers", "no Transfer-Encoding: the body is written plainly here");
    return take_header(r, name, value);
}

/* Editors put a newline at the end; Content-Length says what belongs to the body. */
static void cut_to_length(struct reqtext *out)
{
    const struct field *f = fields_find(&out->fields, SLICE_OF("Content-Length"));
    size_t length = 0;

    if (!f || f->value.len == 0 || f->value.len > 15)
        return;
    for (size_t i = 0; i < f->value.len; i++) {
        if (f->value.data[i] < '0' || f->value.data[i] > '9')
            return;
        length = length * 10 + (size_t)(f->value.data[i] - '0');
    }
    if (length < out->body.len)
        out->body.len = length;
}

static bool read_http(struct reading *r, struct slice text)
{
    struct slice rest = text, line = take_line(&rest);

    if (!read_request_line(r, line))
        return false;
    while (rest.data && (line = take_line(&rest)).len > 0)
        if (!read_field_line(r, line))
            return false;
    if (rest.data)
        r->out->body = rest;
    cut_to_length(r->out);
    r->out->has_body = r->out->body.len > 0;
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool reqtext_read(struct slice text, struct reqtext *out, struct reqtext_fault *out_fault)
{
    struct reading r = {out, out_fault};
    struct slice trimmed = text;

    *out = (struct reqtext){.body = SLICE(""), .held = BUF_INIT(text.len)};
    while (trimmed.len > 0 && is_space(trimmed.data[0]))
        trimmed = slice_skip(trimmed, 1);
    if (trimmed.len == 0 ? fail(&r, "the request", "a JSON object, or the text of an HTTP request")
                         : (trimmed.data[0] == '{' ? read_json(&r, trimmed) : read_http(&r, trimmed)))
        return true;
    reqtext_done(out);
    return false;
}

void reqtext_done(struct reqtext *r)
{
    buf_done(&r->held);
    *r = (struct reqtext){.held = BUF_INIT(0)};
}
