/*
 * vary against itself. For every Vary, whole and cut in two fields at a comma:
 * - the verdict and the list are the same, and the list read again is itself: lower case, sorted, bounded;
 * - `*` is never overheard;
 * - a request has one key by one list, and another once a value that is listed has changed.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/policy/vary.h"

static const struct key_scope scope = {.mode = KEY_SCOPE_SHARED, .secret = SLICE("secret")};

static enum vary_verdict read_fields(struct fields *f, const struct header_table *table,
                                     struct vary_list *out)
{
    struct vary_terms terms = {table, &scope, false};

    out->len = 0;
    fields_classify_response(f, table);
    return vary_read(f, &terms, out);
}

static enum vary_verdict read_one(struct slice value, const struct header_table *table, struct vary_list *out)
{
    struct fields f = {.n = 0};

    HOLDS(fields_add(&f, SLICE_OF("Vary"), value) == 0);
    return read_fields(&f, table, out);
}

static bool same(const struct vary_list *a, const struct vary_list *b)
{
    return slice_eq(slice_make(a->text, a->len), slice_make(b->text, b->len));
}

static void check_list(const struct vary_list *list, const struct header_table *table)
{
    struct slice rest = slice_make(list->text, list->len), before = {NULL, 0};
    struct vary_list again;
    unsigned n = 0;

    HOLDS(list->len > 0 && list->len <= VARY_BYTES_MAX);
    HOLDS(read_one(slice_make(list->text, list->len), table, &again) == VARY_SPLIT && same(list, &again));
    for (; rest.data; n++) {
        struct slice name = slice_trim(slice_cut(&rest, ','));

        HOLDS(header_name_ok(name));
        if (before.data) {
            size_t len = before.len < name.len ? before.len : name.len;
            int order = memcmp(before.data, name.data, len);

            HOLDS(order < 0 || (order == 0 && before.len < name.len));
        }
        before = name;
    }
    HOLDS(n <= VARY_NAMES_MAX);
}

static void check_keys(const struct vary_list *list, struct sha256 *hash)
{
    static const struct digest common = {{1}};
    struct slice names = slice_make(list->text, list->len), rest = names, id = SLICE_OF("id");
    struct field field = {slice_trim(slice_cut(&rest, ',')), SLICE("a"), 0};
    struct digest absent = vary_key(hash, &common, id, names, NULL, 0, &scope);
    struct digest first = vary_key(hash, &common, id, names, &field, 1, &scope), second;

    HOLDS(!digest_eq(&absent, &first));
    field.value = SLICE_OF(" a\t");
    second = vary_key(hash, &common, id, names, &field, 1, &scope);
    HOLDS(digest_eq(&first, &second));
    field.value = SLICE_OF("b");
    second = vary_key(hash, &common, id, names, &field, 1, &scope);
    HOLDS(!digest_eq(&first, &second));
    field.name = SLICE_OF("x-not-listed-and-longer-than-any-that-is-in-the-shipped-list");
    second = vary_key(hash, &common, id, names, &field, 1, &scope);
    HOLDS(digest_eq(&absent, &second) || slice_eq(field.name, names));
}

static void check(struct slice value, size_t cut, const struct header_table *table, struct sha256 *hash)
{
    struct fields two = {.n = 0};
    struct vary_list whole, parted;
    enum vary_verdict verdict = read_one(value, table, &whole);

    if (cut < value.len && value.data[cut] == ',') {
        HOLDS(fields_add(&two, SLICE_OF("Vary"), slice_make(value.data, cut)) == 0);
        HOLDS(fields_add(&two, SLICE_OF("vary"), slice_skip(value, cut + 1)) == 0);
        HOLDS(read_fields(&two, table, &parted) == verdict &&
              (verdict != VARY_SPLIT || same(&whole, &parted)));
    }
    for (struct slice rest = value; rest.data;)
        if (slice_eq(slice_trim(slice_cut(&rest, ',')), SLICE_OF("*")))
            HOLDS(verdict == VARY_NEVER);
    if (verdict == VARY_SPLIT) {
        check_list(&whole, table);
        check_keys(&whole, hash);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct header_table *table;
    static struct sha256 *hash;

    if (!table) {
        table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
        hash = sha256_new();
    }
    if (len < 2)
        return 0;
    check(slice_make(data + 1, len - 1), data[0] % (len - 1), table, hash);
    return 0;
}
