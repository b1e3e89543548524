/*
 * hex - what a hexadecimal digit is worth. One place for all who read `%41`, `\u0041`, sums and keys.
 */
#pragma once

/** 0 to 15, in either case; -1: it is none. Threads: any. */
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/** The same in lower case alone: for what we write ourselves, and compare as text. */
static inline int hex_digit_lower(char c)
{
    return c >= 'A' && c <= 'F' ? -1 : hex_digit(c);
}

/** The byte that two digits at @at tell, in either case; -1: they are not two digits. */
static inline int hex_byte(const char *at)
{
    int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

    return low < 0 ? -1 : high * 16 + low;
}

static inline int hex_byte_lower(const char *at)
{
    int high = hex_digit_lower(at[0]), low = high < 0 ? -1 : hex_digit_lower(at[1]);

    return low < 0 ? -1 : high * 16 + low;
}
