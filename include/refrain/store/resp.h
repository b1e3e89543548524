/*
 * resp - commands into bytes, bytes into replies, over hiredis, with a guard before it (resp_guard.h). Knows
 * no socket.
 *
 * Threads: a reader belongs to one.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/slice.h"
#include "refrain/store/redis.h"

/** The bytes of one command, from malloc; NULL when out of memory. @out_len: how many. */
char *resp_format(const struct slice *argv, size_t argc, size_t *out_len);
void resp_format_free(char *bytes);
/** How many bytes resp_format would make, about: never fewer. */
size_t resp_format_size(const struct slice *argv, size_t argc);

struct resp_reader;
struct resp_reader_conf {
    size_t bulk_bytes_max, reply_bytes_max, elements_max;
    unsigned depth_max;
};
/** NULL when out of memory. */
struct resp_reader *resp_reader_new(const struct resp_reader_conf *conf);
void resp_reader_free(struct resp_reader *r); /* NULL is fine */

enum resp_read {
    RESP_READ_MORE,  /* all of *@bytes is used up, and no reply is whole */
    RESP_READ_REPLY, /* *@out is one, for resp_reply_free */
    RESP_READ_OVER,  /* a reply that is one text larger than bulk_bytes_max has gone by */
    RESP_READ_BAD,   /* no RESP2, or past a limit: of no use any more */
    RESP_READ_NO_MEMORY,
};
/** Reads on in *@bytes, which is cut to what is left, up to the end of the next reply. */
enum resp_read resp_reader_next(struct resp_reader *r, struct slice *bytes, struct redis_reply **out);
void resp_reply_free(struct redis_reply *reply); /* NULL is fine */
