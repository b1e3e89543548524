#include "text.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "refrain/base/attr.h"

/* -- characters -- */

/* The code point at @s and how many bytes it takes; 0 bytes: no UTF-8 (RFC 3629). */
static uint32_t code_point(const unsigned char *s, size_t *out_bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    uint32_t c = n == 1 ? s[0] : n == 0 ? 0 : s[0] & (0x7FU >> n);

    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            *out_bytes = 0;
            return 0;
        }
        c = c << 6 | (s[i] & 0x3F);
    }
    *out_bytes = n > 1 && (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) ? 0 : n;
    return c;
}

/* Line and paragraph separators, and what turns the direction of what follows. */
static bool is_confusing(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x2028 && c <= 0x202E) ||
           (c >= 0x2066 && c <= 0x2069) || c == 0x200E || c == 0x200F || c == 0xFEFF;
}

void text_clean(const char *text, bool ascii, char *out, size_t cap)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t len = 0, n;

    while (*s) {
        uint32_t c = code_point(s, &n);
        bool good = n > 0 && !is_confusing(c) && (!ascii || c < 0x80);

        if (len + (good ? n : 1) + 1 > cap)
            break;
        if (good)
            memcpy(out + len, s, n);
        else
            out[len] = '?';
        len += good ? n : 1;
        s += n > 0 ? n : 1;
    }
    out[len] = '\0';
}

/* Of a code point; what the locale does not know takes one. */
static size_t width_of(uint32_t c)
{
    int width = wcwidth((wchar_t)c);

    return width < 0 ? 1 : (size_t)width;
}

size_t text_columns(const char *clean)
{
    size_t columns = 0, n;

    for (const unsigned char *s = (const unsigned char *)clean; *s; s += n > 0 ? n : 1)
        columns += width_of(code_point(s, &n));
    return columns;
}

void text_fit(char *clean, size_t columns, bool ascii)
{
    size_t at = 0, used = 0, n;

    if (text_columns(clean) <= columns)
        return;
    while (clean[at]) {
        size_t width = width_of(code_point((unsigned char *)clean + at, &n));

        if (used + width + 1 > columns)
            break;
        used += width;
        at += n > 0 ? n : 1;
    }
    if (columns > 0 && !ascii) {
        memcpy(clean + at, "…", sizeof("…"));
    } else if (columns > 0) {
        clean[at] = '~';
        clean[at + 1] = '\0';
    } else {
        clean[0] = '\0';
    }
}

/* -- numbers -- */

/* Three digits that count. */
static struct short_text scaled(double value, const char *unit)
{
    struct short_text out;
    double shown = fabs(value);

    (void)snprintf(out.text, sizeof(out.text),
                   shown >= 99.95   ? "%.0f%s"
                   : shown >= 9.995 ? "%.1f%s"
                                    : "%.2f%s",
                   value, unit);
    return out;
}

static struct short_text whole(double value, const char *unit)
{
    struct short_text out;

    (void)snprintf(out.text, sizeof(out.text), "%.0f%s", value, unit);
    return out;
}

struct short_text text_of_bytes(double bytes)
{
    static const char *const units[] = {" KiB", " MiB", " GiB", " TiB", " PiB"};
    size_t i = 0;

    if (bytes < 1024)
        return whole(bytes, " B");
    for (bytes /= 1024; bytes >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        bytes /= 1024;
    return scaled(bytes, units[i]);
}

struct short_text text_of_count(double count)
{
    static const char *const units[] = {"k", "M", "G", "T"};
    size_t i = 0;

    if (fabs(count) < 10000)
        return count == floor(count) ? whole(count, "") : scaled(count, "");
    for (count /= 1000; fabs(count) >= 999.5 && i + 1 < ARRAY_LEN(units); i++)
        count /= 1000;
    return scaled(count, units[i]);
}

static struct short_text two_units(double seconds, double large, const char *large_unit, double small,
                                   const char *small_unit)
{
    double first = floor(seconds / large), second = floor((seconds - first * large) / small);
    struct short_text out;

    if (second > 0)
        (void)snprintf(out.text, sizeof(out.text), "%.0f %s %.0f %s", first, large_unit, second, small_unit);
    else
        (void)snprintf(out.text, sizeof(out.text), "%.0f %s", first, large_unit);
    return out;
}

struct short_text text_of_seconds(double seconds)
{
    enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };
    struct short_text out;

    if (seconds < 0) {
        struct short_text past = text_of_seconds(-seconds);

        (void)snprintf(out.text, sizeof(out.text), "-%.30s", past.text);
        return out;
    }
    if (seconds == 0)
        return whole(0, " s");
    if (seconds < 0.001)
        return scaled(seconds * 1e6, " us");
    if (seconds < 1)
        return scaled(seconds * 1e3, " ms");
    if (seconds < MINUTE)
        return seconds == floor(seconds) ? whole(seconds, " s") : scaled(seconds, " s");
    if (seconds < HOUR)
        return two_units(seconds, MINUTE, "min", 1, "s");
    if (seconds < DAY)
        return two_units(seconds, HOUR, "h", MINUTE, "min");
    return two_units(seconds, DAY, "d", HOUR, "h");
}

struct short_text text_of_ratio(double ratio)
{
    struct short_text out;

    (void)snprintf(out.text, sizeof(out.text), "%.1f %%", ratio * 100);
    return out;
}

struct short_text text_of_dollars(double dollars)
{
    struct short_text out;

    (void)snprintf(out.text, sizeof(out.text), dollars == 0 || dollars >= 1 ? "$%.2f" : "$%.4f", dollars);
    return out;
}
