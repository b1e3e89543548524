/*
 * header_words - bytes of field names and values, several at once: what look-up (header.c) and syntax
 * (header_syntax.c) share.
 */
#pragma once
#include <stdint.h>
#include <string.h>

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static inline uint64_t load64(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

static inline uint64_t load32(const char *p)
{
    uint32_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}
