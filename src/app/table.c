#include "table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"
#include "refrain/base/attr.h"
#include "text.h"

enum { CELL_BYTES_MAX = 2048, COLUMN_WIDTH_MIN = 4, GAP = 2, BELOW_INDENT = 4, BELOW_WIDTH_MAX = 100 };

struct cell {
    char *text;
    enum tone tone;
};

struct table {
    struct pool kept, pool; /* as long as the table; as long as the rows that are gathered */
    const struct term *term;
    const struct table_column *columns;
    size_t n;
    size_t *widths;
    bool *dropped; /* not among those that stand side by side */
    bool begun;    /* the header is printed */
    struct cell *cells;
    size_t cells_n, cells_cap;
};

struct table *table_new(const struct term *term, const struct table_column *columns, size_t n)
{
    struct pool kept = POOL_INIT;
    struct table *t = pool_alloc(&kept, sizeof(*t));
    struct table_column *copy = pool_alloc(&kept, n * sizeof(*copy));

    memcpy(copy, columns, n * sizeof(*copy));
    t->term = term;
    t->columns = copy;
    t->n = n;
    t->widths = pool_alloc(&kept, n * sizeof(*t->widths));
    t->dropped = pool_alloc(&kept, n * sizeof(*t->dropped));
    for (size_t i = 0; i < n; i++)
        if (columns[i].below)
            t->dropped[i] = true;
        else
            t->widths[i] = text_columns(columns[i].title);
    t->kept = kept;
    return t;
}

void table_free(struct table *t)
{
    struct pool kept;

    if (!t)
        return;
    kept = t->kept;
    pool_done(&t->pool);
    pool_done(&kept);
}

static void make_room(struct table *t)
{
    struct cell *larger;

    if (t->cells_n < t->cells_cap)
        return;
    t->cells_cap = t->cells_cap ? 2 * t->cells_cap : 64 * t->n;
    larger = pool_alloc(&t->pool, t->cells_cap * sizeof(*larger));
    if (t->cells_n > 0)
        memcpy(larger, t->cells, t->cells_n * sizeof(*larger));
    t->cells = larger;
}

void table_add(struct table *t, const char *text, enum tone tone)
{
    char clean[CELL_BYTES_MAX];

    make_room(t);
    text_clean(text, t->term->ascii, clean, sizeof(clean));
    t->cells[t->cells_n] = (struct cell){pool_alloc(&t->pool, strlen(clean) + TEXT_FIT_ROOM + 1), tone};
    memcpy(t->cells[t->cells_n++].text, clean, strlen(clean) + 1);
}

/* -- widths -- */

static size_t total_width(const struct table *t)
{
    size_t sum = 0, shown = 0;

    for (size_t i = 0; i < t->n; i++) {
        sum += t->dropped[i] ? 0 : t->widths[i];
        shown += !t->dropped[i];
    }
    return sum + (shown > 0 ? (shown - 1) * GAP : 0);
}

/* How much narrower the columns that may be cut can become. */
static size_t slack(const struct table *t)
{
    size_t sum = 0;

    for (size_t i = 0; i < t->n; i++)
        if (!t->dropped[i] && t->columns[i].shrinks &&
            t->widths[i] > text_columns(t->columns[i].title) + COLUMN_WIDTH_MIN)
            sum += t->widths[i] - text_columns(t->columns[i].title) - COLUMN_WIDTH_MIN;
    return sum;
}

/* Leaves out the column that is wanted least; false: none may go. */
static bool drop_one(struct table *t)
{
    size_t worst = t->n;

    for (size_t i = 0; i < t->n; i++)
        if (!t->dropped[i] && t->columns[i].drop > 0 &&
            (worst == t->n || t->columns[i].drop > t->columns[worst].drop))
            worst = i;
    if (worst == t->n)
        return false;
    t->dropped[worst] = true;
    return true;
}

/* Takes one from the widest column that may be cut, else from the widest; false: none is left to take from.
 */
static bool shrink_one(struct table *t)
{
    size_t widest = t->n;
    bool may = slack(t) > 0;

    for (size_t i = 0; i < t->n; i++) {
        if (t->dropped[i] || t->widths[i] <= COLUMN_WIDTH_MIN || (may && !t->columns[i].shrinks))
            continue;
        if (widest == t->n || t->widths[i] > t->widths[widest])
            widest = i;
    }
    if (widest == t->n)
        return false;
    t->widths[widest]--;
    return true;
}

static void fit_widths(struct table *t)
{
    for (size_t i = 0; i < t->cells_n; i++) {
        size_t wanted = text_columns(t->cells[i].text);

        if (wanted > t->widths[i % t->n])
            t->widths[i % t->n] = wanted;
    }
    while (total_width(t) > t->term->width && total_width(t) - slack(t) > t->term->width && drop_one(t))
        ;
    while (total_width(t) > t->term->width && shrink_one(t))
        ;
}

/* -- printing -- */

static bool is_last(const struct table *t, size_t column)
{
    for (size_t i = column + 1; i < t->n; i++)
        if (!t->dropped[i])
            return false;
    return true;
}

static void print_aligned(const struct table *t, size_t column, char *text, enum tone tone)
{
    size_t used, width = t->widths[column];

    text_fit(text, width, t->term->ascii);
    used = text_columns(text);
    if (t->columns[column].right && used < width)
        (void)printf("%*s", (int)(width - used), "");
    term_print(t->term, tone, text);
    if (is_last(t, column))
        return;
    (void)printf("%*s", (int)((t->columns[column].right ? 0 : width - used) + GAP), "");
}

/* A sentence below its row, broken between words. */
static void print_below(const struct table *t, const char *text, enum tone tone)
{
    size_t width = t->term->width < BELOW_WIDTH_MAX ? t->term->width : BELOW_WIDTH_MAX, column = width;
    struct slice rest = slice_str(text);

    while (rest.data) {
        struct slice word = slice_cut(&rest, ' ');
        char one[CELL_BYTES_MAX];

        (void)snprintf(one, sizeof(one), "%.*s", (int)word.len, word.data);
        if (column + 1 + text_columns(one) > width) {
            (void)printf("%s%*s", column == width ? "" : "\n", BELOW_INDENT, "");
            column = BELOW_INDENT;
        } else {
            (void)putchar(' ');
            column++;
        }
        term_print(t->term, tone, one);
        column += text_columns(one);
    }
    (void)putchar('\n');
}

static void print_row(const struct table *t, const struct cell *cells)
{
    for (size_t i = 0; i < t->n; i++) {
        if (!t->term->live)
            (void)printf("%s%s", i > 0 ? "\t" : "", cells[i].text);
        else if (!t->dropped[i])
            print_aligned(t, i, cells[i].text, cells[i].tone);
    }
    (void)putchar('\n');
    for (size_t i = 0; t->term->live && i < t->n; i++)
        if (t->columns[i].below && cells[i].text[0])
            print_below(t, cells[i].text, cells[i].tone);
}

static void print_header(const struct table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct table_column *c = &t->columns[i];
        char title[64];

        (void)snprintf(title, sizeof(title), "%s", c->title);
        if (!t->term->live)
            (void)printf("%s%s", i > 0 ? "\t" : "", c->name ? c->name : title);
        else if (!t->dropped[i])
            print_aligned(t, i, title, TONE_STRONG);
    }
    (void)putchar('\n');
}

void table_flush(struct table *t)
{
    fit_widths(t);
    if (!t->begun)
        print_header(t);
    t->begun = true;
    for (size_t i = 0; i + t->n <= t->cells_n; i += t->n)
        print_row(t, t->cells + i);
    pool_done(&t->pool);
    t->pool = (struct pool)POOL_INIT;
    t->cells = NULL;
    t->cells_n = t->cells_cap = 0;
}
