#include "refrain/base/siphash.h"

#include <endian.h>

static inline uint64_t turn(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = turn(v[1], 13) ^ v[0];
    v[3] = turn(v[3], 16) ^ v[2];
    v[0] = turn(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = turn(v[1], 17) ^ v[2];
    v[3] = turn(v[3], 21) ^ v[0];
    v[2] = turn(v[2], 32);
}

static inline void take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

void siphash_begin(struct siphash *s, const struct siphash_key *key)
{
    s->v[0] = key->half[0] ^ UINT64_C(0x736f6d6570736575);
    s->v[1] = key->half[1] ^ UINT64_C(0x646f72616e646f6d);
    s->v[2] = key->half[0] ^ UINT64_C(0x6c7967656e657261);
    s->v[3] = key->half[1] ^ UINT64_C(0x7465646279746573);
    s->tail = 0;
    s->len = 0;
}

static inline void take_byte(struct siphash *s, char byte)
{
    unsigned at = s->len++ % 8;

    s->tail |= (uint64_t)(unsigned char)byte << (8 * at);
    if (at < 7)
        return;
    take(s->v, s->tail);
    s->tail = 0;
}

void siphash_add(struct siphash *s, struct slice bytes)
{
    const char *p = bytes.data, *end = bytes.len ? p + bytes.len : p;
    uint64_t v[4];

    while (p < end && s->len % 8 != 0)
        take_byte(s, *p++);
    memcpy(v, s->v, sizeof(v));
    for (; end - p >= 8; p += 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        take(v, le64toh(word));
        s->len += 8;
    }
    memcpy(s->v, v, sizeof(v));
    while (p < end)
        take_byte(s, *p++);
}

uint64_t siphash_end(struct siphash *s)
{
    take(s->v, s->tail | s->len << 56);
    s->v[2] ^= 0xFF;
    for (int i = 0; i < 3; i++)
        mix(s->v);
    return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}
