/*
 * One walk over the text writes the canonical text in the order of the input: white space gone, strings and
 * numbers in their one form. Where an object's members stand out of order, or some are to be left out, its
 * *shape* is kept: where its members lie in that text, already in the order they shall have. At the end the
 * text is copied out once, following the shapes. So every byte is moved twice whatever the nesting; rotating
 * members in place would move it once a level.
 *
 *   frames    the objects and arrays that are open, outermost first (at most CANON_DEPTH_MAX, no recursion)
 *   members   a stack: the members seen so far of every open object
 *   kept      the members of closed objects whose shape matters, object by object
 *   shapes    one an object, in the order they open; flat ones need nothing and are skipped
 *
 * Strings (canon_string.c) and numbers (canon_number.c) know nothing of all this; what a request tells the
 * cache about itself is canon_facts.c's.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "canon_priv.h"
#include "refrain/base/attr.h"

enum {
    SLACK = CANON_STRING_EXTRA, /* always room for this much beyond what may be written */
    TEXT_BYTES_MAX = 1 << 30,   /* offsets are 32 bits; numbers may grow */
    INSERTION_MAX = 24,         /* members up to which insertion beats a call to qsort */
    PLAIN_DIGITS_MAX = 18,      /* any integer this short is its own canonical form */
};

struct member {
    uint64_t
        prefix; /* first 8 bytes of the name, big-endian, padded with zeros: orders most pairs by itself */
    uint32_t start; /* of the name's quote */
    uint32_t end;   /* of the value; MEMBER_LEFT_OUT: not in the canonical form */
    uint32_t name_len;
    uint32_t shape; /* the first shape that may lie in the value */
};
enum { MEMBER_LEFT_OUT = 0 }; /* no member ends there */

struct shape {
    uint32_t start, end; /* braces included */
    uint32_t first, n;   /* in kept */
    uint32_t next;       /* the shape behind all those inside */
    bool flat;
};

/* How the value that comes next is to be treated. */
struct slot {
    struct slice
        path; /* dotted path of the object that holds it, with its dot, borrowed from a rule; NULL: no rule */
    enum canon_place place;
    bool ordered;
};

struct frame {
    struct slot self; /* of the object or array itself: path is that of its members */
    struct slot next; /* of the member or element being read */
    uint32_t members; /* where its own begin on the stack */
    uint32_t shape;
    uint32_t count;
    bool object, sorted, gaps; /* gaps: some member is left out */
    bool leave_out;            /* the member being read is ignored */
};

#define ARRAY_OF(type)                                                                                       \
    struct {                                                                                                 \
        type *at;                                                                                            \
        uint32_t n, cap;                                                                                     \
    }

struct canon {
    const char *p, *end;
    const struct canon_rules *rules;
    struct canon_facts *facts;
    struct canon_noted noted;
    struct buf text;
    ARRAY_OF(struct member) members, kept;
    ARRAY_OF(struct shape) shapes;
    struct canon_faults faults;
    bool full;
    unsigned depth;
    struct frame frames[CANON_DEPTH_MAX + 1]; /* [0] holds the whole value as its one element */
};

/* ---- faults ---- */

static bool full(struct canon *c)
{
    c->full = true;
    return canon_stop(&c->faults, "full");
}

/* ---- arrays ---- */

static bool array_grow(void **at, uint32_t *cap, uint32_t need, size_t size)
{
    uint32_t want = *cap ? *cap : 32;
    void *grown;

    if (need > CANON_MEMBERS_MAX)
        return false;
    while (want < need)
        want *= 2;
    grown = realloc(*at, want * size);
    if (!grown)
        return false;
    *at = grown;
    *cap = want;
    return true;
}

#define ARRAY_ROOM(a, extra)                                                                                 \
    ((a)->n + (extra) <= (a)->cap ||                                                                         \
     array_grow((void **)&(a)->at, &(a)->cap, (a)->n + (extra), sizeof(*(a)->at)))

/* ---- text ---- */

/*
 * Every token but a number writes no more than it reads. So with room for all that is left to read, nothing
 * else needs to check. A number makes that room anew, and more than it can grow by, before it is written.
 */
static bool text_room(struct canon *c, size_t extra)
{
    return buf_reserve(&c->text, (size_t)(c->end - c->p) + extra + SLACK) == 0 || full(c);
}

static inline void text_put(struct canon *c, char byte)
{
    c->text.data[c->text.len++] = byte;
}

static inline uint32_t text_at(const struct canon *c)
{
    return (uint32_t)c->text.len; /* TEXT_BYTES_MAX */
}

static inline void skip_space(struct canon *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
}

/* ---- strings, numbers and literals ---- */

/* Its opening quote is at c->p. @out gets its text as it stands in the input. */
static bool read_string(struct canon *c, struct canon_value *out)
{
    char *to = c->text.data + c->text.len;

    if (!canon_string_read(&c->p, c->end, &to, out, &c->faults))
        return false;
    c->text.len = (size_t)(to - c->text.data);
    return true;
}

static bool read_any_number(struct canon *c, struct canon_value *out)
{
    struct canon_number_text number;
    const char *end = canon_number_split(c->p, c->end, &number);
    size_t written = 0;

    if (!end)
        return canon_stop(&c->faults, "bad number");
    if (!text_room(c, CANON_NUMBER_EXTRA))
        return false;
    switch (canon_number_write(&number, c->text.data + c->text.len, &written)) {
    case NUMBER_OK:
        break;
    case NUMBER_OVER_64_BITS:
        canon_blemish(&c->faults, "integer over 64 bits");
        break;
    case NUMBER_OUT_OF_RANGE:
        canon_blemish(&c->faults, "number out of range");
        break;
    }
    *out = (struct canon_value){.kind = KIND_NUMBER, .text = slice_make(c->p, (size_t)(end - c->p))};
    c->text.len += written;
    c->p = end;
    return true;
}

static inline bool number_goes_on(const char *p, const char *end)
{
    return p < end && (*p == '.' || *p == 'e' || *p == 'E');
}

/* Most numbers are short plain integers: counts, seeds, tokens of an embedding's input. */
static bool read_number(struct canon *c, struct canon_value *out)
{
    const char *digits = c->p + (*c->p == '-'), *end = canon_skip_digits(digits, c->end);
    size_t n = (size_t)(end - digits);

    if (n == 0 || n > PLAIN_DIGITS_MAX || *digits == '0' || number_goes_on(end, c->end))
        return read_any_number(c, out);
    *out = (struct canon_value){.kind = KIND_NUMBER, .text = slice_make(c->p, (size_t)(end - c->p))};
    memcpy(c->text.data + c->text.len, c->p, out->text.len);
    c->text.len += out->text.len;
    c->p = end;
    return true;
}

static bool read_literal(struct canon *c, struct slice literal, enum canon_kind kind, struct canon_value *out)
{
    if (!slice_starts(slice_make(c->p, (size_t)(c->end - c->p)), literal))
        return canon_stop(&c->faults, "not JSON");
    *out = (struct canon_value){.kind = kind};
    memcpy(c->text.data + c->text.len, literal.data, literal.len);
    c->text.len += literal.len;
    c->p += literal.len;
    return true;
}

static bool read_scalar(struct canon *c, struct canon_value *out)
{
    switch (*c->p) {
    case '"':
        return read_string(c, out);
    case 't':
        return read_literal(c, SLICE_OF("true"), KIND_TRUE, out);
    case 'f':
        return read_literal(c, SLICE_OF("false"), KIND_FALSE, out);
    case 'n':
        return read_literal(c, SLICE_OF("null"), KIND_NULL, out);
    case '-':
        return read_number(c, out);
    default:
        return *c->p >= '0' && *c->p <= '9' ? read_number(c, out) : canon_stop(&c->faults, "not JSON");
    }
}

/* ---- order of members ---- */

static uint64_t name_prefix(const char *name, size_t len)
{
    uint64_t word;

    memcpy(&word, name, 8); /* there is SLACK */
    word = be64toh(word);
    return len >= 8 ? word : len == 0 ? 0 : word & (UINT64_MAX << (64 - 8 * len));
}

/* By bytes, a name before what it begins. No name holds a NUL, so equal prefixes of short names are equal
 * names. */
static int member_order(const struct member *a, const struct member *b, const char *text)
{
    uint32_t n = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    order = n > 8 ? memcmp(text + a->start + 9, text + b->start + 9, n - 8) : 0;
    if (order != 0)
        return order;
    return (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

static int member_order_qsort(const void *a, const void *b, void *text)
{
    return member_order(a, b, text);
}

static void members_sort(struct member *at, uint32_t n, char *text)
{
    if (n > INSERTION_MAX) {
        qsort_r(at, n, sizeof(*at), member_order_qsort, text);
        return;
    }
    for (uint32_t i = 1; i < n; i++) {
        struct member moving = at[i];
        uint32_t to = i;

        for (; to > 0 && member_order(&moving, &at[to - 1], text) < 0; to--)
            at[to] = at[to - 1];
        at[to] = moving;
    }
}

/* Of sorted members. */
static bool members_repeat(const struct member *at, uint32_t n, const char *text)
{
    for (uint32_t i = 1; i < n; i++)
        if (member_order(&at[i - 1], &at[i], text) == 0)
            return true;
    return false;
}

/* ---- what the rules say of a member ---- */

/*
 * True when one of the rules names the member @name of the object at @path. *@deeper is set when one goes on
 * below it.
 */
static bool rules_name(const struct slice *rules, size_t n, struct slice path, struct slice name,
                       struct slice *deeper)
{
    bool named = false;

    for (size_t i = 0; i < n; i++) {
        size_t len = path.len + name.len;
        struct slice rule = rules[i];

        if (rule.len < len || memcmp(rule.data + path.len, name.data, name.len) != 0 ||
            memcmp(rule.data, path.data, path.len) != 0)
            continue;
        if (rule.len == len)
            named = true;
        else if (rule.data[len] == '.')
            *deeper = slice_make(rule.data, len + 1);
    }
    return named;
}

/* A name with a dot in it can't be told from a path: no rule reaches it. */
static void apply_rules(const struct canon *c, struct frame *f, struct slice name)
{
    const struct canon_rules *r = c->rules;
    struct slice deeper = {NULL, 0};

    f->leave_out = false;
    f->next.ordered = f->self.ordered;
    if (f->self.path.data && !memchr(name.data, '.', name.len)) {
        f->leave_out = rules_name(r->ignored, r->ignored_n, f->self.path, name, &deeper);
        f->next.ordered |= rules_name(r->ordered, r->ordered_n, f->self.path, name, &deeper);
    }
    f->next.path = deeper;
}

static bool is_stream_default(const struct canon *c, const struct frame *f, enum canon_kind kind)
{
    return c->rules->stream_default_dropped && f->next.place == PLACE_STREAM &&
           kind == (c->rules->stream_is_default ? KIND_TRUE : KIND_FALSE);
}

static bool is_left_out(const struct canon *c, const struct frame *f, enum canon_kind kind)
{
    if (f->leave_out)
        return true;
    if (f->self.place != PLACE_ROOT)
        return false;
    return (c->rules->drop_nulls && kind == KIND_NULL) || is_stream_default(c, f, kind);
}

/* ---- objects and arrays ---- */

static inline struct frame *top(struct canon *c)
{
    return &c->frames[c->depth];
}

/* The value of the top frame's slot has been read. */
static void value_done(struct canon *c, const struct canon_value *value)
{
    struct frame *f = top(c);

    if (f->next.place != PLACE_NONE)
        canon_note(c->facts, &c->noted, f->next.place, value);
    if (!f->object)
        return;
    if (is_left_out(c, f, value->kind)) {
        c->members.at[c->members.n - 1].end = MEMBER_LEFT_OUT;
        f->gaps = true;
    } else {
        c->members.at[c->members.n - 1].end = text_at(c);
    }
}

static bool open_value(struct canon *c)
{
    const struct slot *slot = &top(c)->next;
    bool object = *c->p == '{';
    struct frame *f;

    if (c->depth == CANON_DEPTH_MAX)
        return canon_stop(&c->faults, "depth");
    f = &c->frames[++c->depth];
    f->self = *slot;
    f->next = (struct slot){.ordered = slot->ordered, .place = canon_place_element(slot->place)};
    f->members = c->members.n;
    f->shape = c->shapes.n;
    f->count = 0;
    f->object = object;
    f->sorted = true;
    f->gaps = false;
    if (object) {
        if (!ARRAY_ROOM(&c->shapes, 1))
            return full(c);
        c->shapes.at[c->shapes.n++] = (struct shape){.start = text_at(c)};
    }
    text_put(c, *c->p++);
    return true;
}

static bool read_value(struct canon *c)
{
    struct canon_value value = {.kind = KIND_NULL};

    skip_space(c);
    if (c->p == c->end)
        return canon_stop(&c->faults, "cut short");
    if (*c->p == '{' || *c->p == '[')
        return open_value(c);
    if (!read_scalar(c, &value))
        return false;
    value_done(c, &value);
    return true;
}

/* An ordered object keeps its order, but is looked through for duplicates; the sorted copy is not kept. */
static bool close_ordered(struct canon *c, const struct member *own, uint32_t n)
{
    struct member *copy;

    if (!ARRAY_ROOM(&c->kept, n))
        return full(c);
    copy = c->kept.at + c->kept.n;
    memcpy(copy, own, n * sizeof(*own));
    members_sort(copy, n, c->text.data);
    if (members_repeat(copy, n, c->text.data))
        canon_blemish(&c->faults, "duplicate member");
    return true;
}

/* Sorts the members where that is due, and keeps them where the text cannot stay as it is. */
static bool close_shape(struct canon *c, struct frame *f)
{
    struct member *own = c->members.at + f->members;
    uint32_t n = f->count;
    struct shape *s = &c->shapes.at[f->shape];

    if (!f->sorted && f->self.ordered && !close_ordered(c, own, n))
        return false;
    if (!f->sorted && !f->self.ordered) {
        members_sort(own, n, c->text.data);
        if (members_repeat(own, n, c->text.data))
            canon_blemish(&c->faults, "duplicate member");
    }
    s->end = text_at(c);
    s->next = c->shapes.n;
    s->flat = !f->gaps && (f->sorted || f->self.ordered);
    if (s->flat) {
        if (c->shapes.n == f->shape + 1)
            c->shapes.n--; /* nothing inside needs it either */
        return true;
    }
    if (!ARRAY_ROOM(&c->kept, n))
        return full(c);
    s->first = c->kept.n;
    s->n = n;
    memcpy(c->kept.at + c->kept.n, own, n * sizeof(*own));
    c->kept.n += n;
    return true;
}

static bool close_value(struct canon *c)
{
    struct frame *f = top(c);
    struct canon_value value = {.kind = f->object ? KIND_OBJECT : KIND_ARRAY, .count = f->count};

    text_put(c, *c->p++);
    if (f->object && f->count > 0 && !close_shape(c, f))
        return false;
    if (f->object && f->count == 0)
        c->shapes.n--; /* nothing opened since */
    c->members.n = f->members;
    c->depth--;
    value_done(c, &value);
    return true;
}

/* Past the comma, if one is due. *@closed: the end of the object or array stands there instead. */
static bool next_item(struct canon *c, struct frame *f, char closing, bool *closed)
{
    *closed = false;
    skip_space(c);
    if (c->p == c->end)
        return canon_stop(&c->faults, "cut short");
    if (*c->p == closing) {
        *closed = true;
        return close_value(c);
    }
    if (f->count > 0) {
        if (*c->p != ',')
            return canon_stop(&c->faults, "not JSON");
        text_put(c, *c->p++);
        skip_space(c);
    }
    return true;
}

static bool read_name(struct canon *c, struct frame *f)
{
    uint32_t start = text_at(c);
    struct canon_value ignored;
    struct member *m;
    struct slice name;

    if (c->p == c->end || *c->p != '"')
        return canon_stop(&c->faults, "not JSON");
    if (!read_string(c, &ignored))
        return false;
    if (!ARRAY_ROOM(&c->members, 1))
        return full(c);
    name = slice_make(c->text.data + start + 1, text_at(c) - start - 2);
    m = &c->members.at[c->members.n++];
    *m = (struct member){.start = start, .name_len = (uint32_t)name.len, .shape = c->shapes.n};
    m->prefix = name_prefix(name.data, name.len);
    if (f->count > 0 && member_order(m - 1, m, c->text.data) >= 0)
        f->sorted = false;
    f->count++;
    f->next.place = canon_place_member(c->rules, f->self.place, name);
    apply_rules(c, f, name);
    return true;
}

static bool read_member(struct canon *c, struct frame *f)
{
    bool closed;

    if (!next_item(c, f, '}', &closed) || closed)
        return !c->faults.stop;
    if (!read_name(c, f))
        return false;
    skip_space(c);
    if (c->p == c->end || *c->p != ':')
        return canon_stop(&c->faults, "not JSON");
    text_put(c, *c->p++);
    return read_value(c);
}

static bool read_element(struct canon *c, struct frame *f)
{
    bool closed;

    if (!next_item(c, f, ']', &closed) || closed)
        return !c->faults.stop;
    f->count++;
    return read_value(c);
}

static void skip_bom(struct canon *c)
{
    if (c->end - c->p < 3 || memcmp(c->p, "\xEF\xBB\xBF", 3) != 0)
        return;
    canon_blemish(&c->faults, "byte order mark");
    c->p += 3;
}

static void walk(struct canon *c)
{
    bool going;

    c->frames[0] = (struct frame){.next = {.path = SLICE(""), .place = PLACE_ROOT}};
    skip_bom(c);
    going = text_room(c, 0) && read_value(c);
    while (going && c->depth > 0)
        going = top(c)->object ? read_member(c, top(c)) : read_element(c, top(c));
    if (!going)
        return;
    skip_space(c);
    if (c->p < c->end)
        canon_blemish(&c->faults, "trailing bytes");
}

/* ---- copying out ---- */

/* One object being copied: the run of text that is under way inside it, and its members still to come. */
struct level {
    uint32_t pos, end; /* the run */
    uint32_t shape;    /* the first shape that may lie in it */
    uint32_t member, members_end;
    bool comma;
};

static bool put_run(struct canon *c, struct buf *out, uint32_t pos, uint32_t end)
{
    size_t n = end - pos;

    if (LIKELY(n <= out->cap - out->len)) {
        memcpy(out->data + out->len, c->text.data + pos, n);
        out->len += n;
        return true;
    }
    return buf_add(out, c->text.data + pos, n) == 0 || full(c);
}

/* The first shape in the level's run that needs following, or NULL. */
static const struct shape *next_shape(const struct canon *c, struct level *l)
{
    while (l->shape < c->shapes.n && c->shapes.at[l->shape].start < l->end) {
        if (!c->shapes.at[l->shape].flat)
            return &c->shapes.at[l->shape];
        l->shape++;
    }
    return NULL;
}

/* Makes the next member of the level its run. False when there is none. */
static bool next_member(struct canon *c, struct buf *out, struct level *l)
{
    while (l->member < l->members_end) {
        const struct member *m = &c->kept.at[l->member++];

        if (m->end == MEMBER_LEFT_OUT)
            continue;
        if (l->comma && buf_add_byte(out, ',') < 0)
            return full(c);
        l->comma = true;
        l->pos = m->start;
        l->end = m->end;
        l->shape = m->shape;
        return true;
    }
    return false;
}

/* The braces travel with the text around them. */
static bool enter_shape(struct canon *c, struct buf *out, struct level *l, const struct shape *s)
{
    if (!put_run(c, out, l->pos, s->start + 1))
        return false;
    l->pos = s->end - 1;
    l->shape = s->next;
    l[1] = (struct level){.member = s->first, .members_end = s->first + s->n};
    return true;
}

static bool copy_out(struct canon *c, struct buf *out)
{
    struct level levels[CANON_DEPTH_MAX + 1], *l = levels;
    size_t room = out->max - out->len;

    if (buf_reserve(out, c->text.len < room ? c->text.len : room) < 0)
        return full(c);
    *l = (struct level){.end = text_at(c)};
    for (;;) {
        const struct shape *s = next_shape(c, l);

        if (s ? !enter_shape(c, out, l, s) : !put_run(c, out, l->pos, l->end))
            return false;
        if (s)
            l++;
        if (next_member(c, out, l))
            continue;
        if (c->full || l == levels)
            return !c->full;
        l--; /* whose run goes on behind the object */
    }
}

/* ---- the whole ---- */

static void canon_init(struct canon *c, struct slice json, const struct canon_rules *rules,
                       struct canon_facts *facts)
{
    *facts = (struct canon_facts){.stream = rules->stream_is_default};
    c->p = json.data;
    c->end = json.data + json.len;
    c->rules = rules;
    c->facts = facts;
    c->noted = (struct canon_noted){0};
    c->text = (struct buf)BUF_INIT(2 * json.len + 4096); /* numbers may grow, `1e9` for one */
    memset(&c->members, 0, sizeof(c->members));
    memset(&c->kept, 0, sizeof(c->kept));
    memset(&c->shapes, 0, sizeof(c->shapes));
    c->faults = (struct canon_faults){NULL, NULL};
    c->full = false;
    c->depth = 0; /* frames are set as they open: clearing them all costs more than a short text */
}

static void canon_done(struct canon *c)
{
    buf_done(&c->text);
    free(c->members.at);
    free(c->kept.at);
    free(c->shapes.at);
}

static enum canon_verdict verdict(const struct canon *c, const char **out_why)
{
    if (c->full)
        return CANON_FULL;
    if (!c->faults.blemish && !c->faults.stop)
        return CANON_OK;
    if (out_why)
        *out_why = c->faults.blemish ? c->faults.blemish : c->faults.stop;
    return CANON_EXACT;
}

enum canon_verdict canon_json(struct slice json, const struct canon_rules *rules, struct buf *out,
                              struct canon_facts *facts, const char **out_why)
{
    AUTO(canon_done) struct canon c;
    size_t before = out->len;

    canon_init(&c, json, rules, facts);
    if (json.len > TEXT_BYTES_MAX)
        return CANON_FULL;
    walk(&c);
    facts->whole = !c.faults.stop;
    facts->stateful = c.noted.state || c.noted.server_tools;
    facts->only_server_tools = c.noted.server_tools && !c.noted.state;
    if (!c.faults.stop && !c.faults.blemish && !copy_out(&c, out))
        out->len = before;
    return verdict(&c, out_why);
}
