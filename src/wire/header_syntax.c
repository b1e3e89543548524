/*
 * Which bytes may stand in a field's name and value (RFC 9110 sections 5.1, 5.5, 5.6.2). All of a head is
 * looked through with every request, so it goes by sixteen bytes at a time, and the rare odd name is looked
 * at once more, byte by byte.
 */
#include "header_words.h"
#include "refrain/wire/header.h"

/* RFC 9110 section 5.6.2: tchar. */
static const bool is_tchar[256] = {
    ['!'] = true,         ['#'] = true,         ['$'] = true,         ['%'] = true, ['&'] = true,
    ['\''] = true,        ['*'] = true,         ['+'] = true,         ['-'] = true, ['.'] = true,
    ['^'] = true,         ['_'] = true,         ['`'] = true,         ['|'] = true, ['~'] = true,
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static bool tchars_ok(struct slice s)
{
    bool ok = s.len > 0;

    for (size_t i = 0; i < s.len; i++)
        ok &= is_tchar[(unsigned char)s.data[i]];
    return ok;
}

/* Sixteen bytes in one register, where the machine has such. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline bytes16 load16(const void *p)
{
    bytes16 b;

    memcpy(&b, p, sizeof(b));
    return b;
}

static inline bool any16(bytes16 b)
{
    uint64_t halves[2];

    memcpy(halves, &b, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

/* Not 0 in each byte that is no letter, digit or hyphen: names are of these but for curiosities. */
static inline bytes16 curious_bytes16(bytes16 b)
{
    return (bytes16)(((b | 0x20) - 'a' > 'z' - 'a') & (b - '0' > 9) & (b != '-'));
}

/* The last bytes are read once more, together with those before them, rather than one by one. */
static inline bool name_ok(struct slice name)
{
    bytes16 curious = {0};

    if (name.len < 8)
        return tchars_ok(name);
    if (name.len < 16) {
        uint64_t ends[2] = {load64(name.data), load64(name.data + name.len - 8)};

        return !any16(curious_bytes16(load16(ends))) || tchars_ok(name);
    }
    for (size_t at = 0; at + 16 < name.len; at += 16)
        curious |= curious_bytes16(load16(name.data + at));
    curious |= curious_bytes16(load16(name.data + name.len - 16));
    return !any16(curious) || tchars_ok(name);
}

bool header_name_ok(struct slice name)
{
    return name_ok(name);
}

/* Not 0 in each byte that may not stand in a value. */
static inline bytes16 bad_bytes16(bytes16 b)
{
    return (bytes16)(((b < 0x20) & (b != '\t')) | (b == 0x7F));
}

/* The high bit of each byte that may not stand in a value. */
static inline uint64_t bad_bytes8(uint64_t w)
{
    uint64_t seven = w & EACH_BYTE(0x7F);
    uint64_t printable = seven + EACH_BYTE(0x60); /* 0x20 and up */
    uint64_t delete = seven + EACH_BYTE(0x01);    /* 0x7F */
    uint64_t not_tab = (seven ^ EACH_BYTE('\t')) + EACH_BYTE(0x7F);

    return ((~printable & not_tab) | delete) & ~w & EACH_BYTE(0x80);
}

/* The last bytes are read twice here, too. */
static inline bool value_ok(struct slice v)
{
    bytes16 bad = {0};

    if (v.len >= 16) {
        for (size_t at = 0; at + 16 < v.len; at += 16)
            bad |= bad_bytes16(load16(v.data + at));
        bad |= bad_bytes16(load16(v.data + v.len - 16));
        return !any16(bad);
    }
    if (v.len >= 8)
        return (bad_bytes8(load64(v.data)) | bad_bytes8(load64(v.data + v.len - 8))) == 0;
    if (v.len >= 4)
        return bad_bytes8(load32(v.data) | load32(v.data + v.len - 4) << 32) == 0;
    for (size_t i = 0; i < v.len; i++)
        if (bad_bytes8((unsigned char)v.data[i] | EACH_BYTE(' ') << 8) != 0)
            return false;
    return true;
}

bool header_value_ok(struct slice value)
{
    return value_ok(value);
}

bool fields_names_ok(const struct fields *f)
{
    bool ok = true;

    for (unsigned i = 0; i < f->n; i++)
        ok &= name_ok(f->at[i].name);
    return ok;
}

bool fields_values_ok(const struct fields *f)
{
    bool ok = true;

    for (unsigned i = 0; i < f->n; i++)
        ok &= value_ok(f->at[i].value);
    return ok;
}
