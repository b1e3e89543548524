/*
 * guard on whole request heads: a line with method and target, then a line a field; the first byte picks the
 * version. What passes can be read in one way only:
 * - written as a request line and split again at its spaces, it is the same three parts;
 * - the target is a path, or `*` for OPTIONS; it names no authority;
 * - at most one field says how long the body is, and there is one Host that is a host;
 * and a path that is an operation ends with that operation's own path.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/wire/guard.h"

static void check_target(struct slice method, struct slice target)
{
    HOLDS(method.len > 0 && !memchr(method.data, ' ', method.len));
    HOLDS(target.len > 0);
    for (size_t i = 0; i < target.len; i++)
        HOLDS((unsigned char)target.data[i] > ' ' && target.data[i] != 0x7F && target.data[i] != '#');
    if (target.data[0] == '*')
        HOLDS(target.len == 1 && slice_eq(method, SLICE_OF("OPTIONS")));
    else
        HOLDS(target.data[0] == '/' && (target.len == 1 || target.data[1] != '/'));
}

static unsigned count(const struct fields *f, enum header_id id)
{
    unsigned n = 0;

    for (unsigned i = 0; i < f->n; i++)
        n += field_id(&f->at[i]) == id;
    return n;
}

static void check_fields(enum guard_version version, const struct fields *f)
{
    const struct field *host = fields_find_id(f, HEADER_HOST);

    HOLDS(count(f, HEADER_CONTENT_LENGTH) + count(f, HEADER_TRANSFER_ENCODING) <= 1);
    HOLDS(version == GUARD_HTTP_11 || count(f, HEADER_TRANSFER_ENCODING) == 0);
    HOLDS(count(f, HEADER_HOST) == 1 || (version == GUARD_HTTP_10 && !host));
    if (host)
        for (size_t i = 0; i < host->value.len; i++)
            HOLDS(!strchr("/?#@\\", host->value.data[i]) || host->value.data[i] == '\0');
    for (unsigned i = 0; i < f->n; i++) {
        HOLDS(!memchr(f->at[i].name.data, ':', f->at[i].name.len));
        HOLDS(f->at[i].value.len == 0 || !memchr(f->at[i].value.data, '\r', f->at[i].value.len));
    }
}

static bool ends_as_a_path_of(enum operation op, struct slice path)
{
    const struct dialect *d = dialect_of(op);

    for (size_t i = 0; i < DIALECT_PATHS_MAX && d->paths[i].pattern.len > 0; i++)
        if (slice_ends(path, d->paths[i].pattern))
            return true;
    return false;
}

static void check_operation(struct slice method, struct slice target)
{
    struct slice query = target;
    struct slice path = slice_cut(&query, '?');
    enum operation op = operation_find(method, path);

    struct canon_facts facts = {.stream = false};

    (void)operation_read_is_live(path);
    operation_path_facts(op, path, &facts);
    HOLDS(facts.model.len == 0 || (facts.model.data > path.data && facts.model.data < path.data + path.len));
    if (op == OP_READ)
        HOLDS(slice_eq(method, SLICE_OF("GET")) || slice_eq(method, SLICE_OF("HEAD")));
    else if (op != OP_PASS)
        HOLDS(slice_eq(method, SLICE_OF("POST")) && ends_as_a_path_of(op, path));
}

static void read_fields(struct fields *f, struct slice rest)
{
    f->n = 0;
    while (rest.data) {
        struct slice value = slice_cut(&rest, '\n');
        struct slice name = slice_cut(&value, ':');

        if (fields_add(f, name, slice_trim(value)) < 0)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct header_table *t;
    static struct fields f;
    enum guard_version version;
    struct slice rest, target, method;
    struct guard_verdict v;

    if (len == 0)
        return 0;
    if (!t)
        t = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    version = data[0] & 1 ? GUARD_HTTP_11 : GUARD_HTTP_10;
    rest = slice_make(data + 1, len - 1);
    target = slice_cut(&rest, '\n');
    method = slice_cut(&target, ' ');
    read_fields(&f, rest);
    fields_classify(&f, t);
    v = guard_request(version, method, target, &f);
    HOLDS(v.ok || (v.why && error_status(v.code) >= 400));
    if (v.ok) {
        check_target(method, target);
        check_fields(version, &f);
    }
    check_operation(method, target);
    return 0;
}
