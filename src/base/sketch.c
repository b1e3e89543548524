#include "refrain/base/sketch.h"

#include <assert.h>
#include <string.h>

static uint64_t load(const _Atomic(uint64_t) *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

/* The smallest sample of a bucket. */
static uint64_t bucket_low(unsigned i)
{
    unsigned power = i / SKETCH_PARTS; /* of two, above SKETCH_PARTS */

    return power < 2 ? i : (uint64_t)(SKETCH_PARTS + i % SKETCH_PARTS) << (power - 1);
}

/* The largest. */
static uint64_t bucket_high(unsigned i)
{
    return bucket_low(i + 1) - 1;
}

/* What stands for the samples of a bucket: no sample of it is outside of the sketch's own bounds. */
static uint64_t bucket_middle(const struct sketch *s, unsigned i)
{
    uint64_t middle = bucket_low(i) + (bucket_high(i) - bucket_low(i)) / 2;
    uint64_t min = ~load(&s->not_min_ns), max = load(&s->max_ns);

    if (middle > max)
        middle = max;
    return middle < min ? min : middle;
}

void sketch_merge(struct sketch *into, const struct sketch *from)
{
    for (unsigned i = 0; i < SKETCH_BUCKETS; i++) {
        uint64_t n = load(&from->bucket[i]);

        if (n > 0)
            sketch_grow(&into->bucket[i], n);
    }
    sketch_grow(&into->sum_ns, load(&from->sum_ns));
    sketch_raise(&into->max_ns, load(&from->max_ns));
    sketch_raise(&into->not_min_ns, load(&from->not_min_ns));
}

static uint64_t grown_by(const _Atomic(uint64_t) *now, const _Atomic(uint64_t) *before)
{
    uint64_t is = load(now), was = load(before);

    return is > was ? is - was : 0;
}

void sketch_since(struct sketch *out, const struct sketch *now, const struct sketch *before)
{
    unsigned first = SKETCH_BUCKETS, last = 0;

    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < SKETCH_BUCKETS; i++) {
        uint64_t n = grown_by(&now->bucket[i], &before->bucket[i]);

        if (n == 0)
            continue;
        sketch_grow(&out->bucket[i], n);
        first = first < i ? first : i;
        last = i;
    }
    if (first == SKETCH_BUCKETS)
        return;
    sketch_grow(&out->sum_ns, grown_by(&now->sum_ns, &before->sum_ns));
    sketch_raise(&out->max_ns,
                 grown_by(&now->max_ns, &before->max_ns) > 0 ? load(&now->max_ns) : bucket_high(last));
    sketch_raise(&out->not_min_ns, grown_by(&now->not_min_ns, &before->not_min_ns) > 0
                                       ? load(&now->not_min_ns)
                                       : ~bucket_low(first));
}

uint64_t sketch_count(const struct sketch *s)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < SKETCH_BUCKETS; i++)
        n += load(&s->bucket[i]);
    return n;
}

uint64_t sketch_sum_ns(const struct sketch *s)
{
    return load(&s->sum_ns);
}

int64_t sketch_min_ns(const struct sketch *s)
{
    return load(&s->not_min_ns) == 0 ? 0 : (int64_t)~load(&s->not_min_ns);
}

int64_t sketch_max_ns(const struct sketch *s)
{
    return (int64_t)load(&s->max_ns);
}

int64_t sketch_mean_ns(const struct sketch *s)
{
    uint64_t n = sketch_count(s);

    return n == 0 ? 0 : (int64_t)(load(&s->sum_ns) / n);
}

static uint64_t rank_of(double q, uint64_t n)
{
    double exact = q * (double)n;
    uint64_t rank = exact < 1 ? 1 : (uint64_t)exact;

    if ((double)rank < exact)
        rank++;
    return rank > n ? n : rank;
}

int64_t sketch_quantile_ns(const struct sketch *s, double q)
{
    uint64_t n = sketch_count(s), rank = rank_of(q, n), below = 0;

    for (unsigned i = 0; n > 0 && i < SKETCH_BUCKETS; i++) {
        below += load(&s->bucket[i]);
        if (below >= rank)
            return (int64_t)bucket_middle(s, i);
    }
    return 0;
}

int64_t sketch_mean_of_lowest_ns(const struct sketch *s, double q)
{
    uint64_t n = sketch_count(s), left = rank_of(q, n);
    double sum = 0;

    if (n == 0)
        return 0;
    for (unsigned i = 0; left > 0 && i < SKETCH_BUCKETS; i++) {
        uint64_t here = load(&s->bucket[i]);

        here = here < left ? here : left;
        sum += (double)here * (double)bucket_middle(s, i);
        left -= here;
    }
    return (int64_t)(sum / (double)rank_of(q, n));
}

/* -- packed: sum, smallest, largest; then of each bucket with samples how far it is from the last one, and
 * how many. Numbers of 7 bits a byte, the least first; the high bit says that more follow. -- */

enum { NUMBER_BYTES_MAX = 10 };

static size_t number_pack(uint64_t n, unsigned char *out)
{
    size_t len = 0;

    for (; n >= 128; n >>= 7)
        out[len++] = (unsigned char)(n | 128);
    out[len++] = (unsigned char)n;
    return len;
}

static uint64_t number_take(struct slice *from)
{
    uint64_t n = 0;

    for (unsigned shift = 0; from->len > 0 && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)from->data[0];

        *from = slice_skip(*from, 1);
        n |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            break;
    }
    return n;
}

int sketch_pack(const struct sketch *s, struct buf *out)
{
    unsigned char bytes[3 * NUMBER_BYTES_MAX];
    size_t began = out->len, len = number_pack(load(&s->sum_ns), bytes);
    unsigned last = 0;
    int r;

    len += number_pack(~load(&s->not_min_ns), bytes + len);
    len += number_pack(load(&s->max_ns), bytes + len);
    r = buf_add(out, bytes, len);
    for (unsigned i = 0; r == 0 && i < SKETCH_BUCKETS; i++) {
        uint64_t n = load(&s->bucket[i]);

        if (n == 0)
            continue;
        len = number_pack(i - last, bytes);
        len += number_pack(n, bytes + len);
        r = buf_add(out, bytes, len);
        last = i;
    }
    if (r < 0)
        out->len = began;
    return r;
}

void sketch_merge_packed(struct sketch *into, struct slice packed)
{
    uint64_t at = 0;

    if (packed.len == 0)
        return;
    sketch_grow(&into->sum_ns, number_take(&packed));
    sketch_raise(&into->not_min_ns, ~number_take(&packed));
    sketch_raise(&into->max_ns, number_take(&packed));
    while (packed.len > 0) {
        at += number_take(&packed);
        assert(at < SKETCH_BUCKETS);
        sketch_grow(&into->bucket[at], number_take(&packed));
    }
}
