/*
 * redis_slots against itself: what a server may answer to CLUSTER SLOTS, and redirections as errors. A map
 * that is taken has owners that are there, and told again in its own words it is the same map; so is a
 * redirection. No name has a slot out of range, and a tag has the slot of the name it stands in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "refrain/store/redis_slots.h"
#include "refrain/store/resp.h"

static const struct redis_endpoint asked = {"10.0.0.9", 6379};

static struct redis_reply *parse(struct slice bytes)
{
    const struct resp_reader_conf limits = {1 << 16, 1 << 24, 1 << 18, 7};
    struct resp_reader *reader = resp_reader_new(&limits);
    struct redis_reply *reply = NULL;

    HOLDS(reader != NULL);
    if (resp_reader_next(reader, &bytes, &reply) != RESP_READ_REPLY)
        reply = NULL;
    resp_reader_free(reader);
    return reply;
}

static void write_row(FILE *f, const struct redis_map *m, unsigned first, unsigned last)
{
    const struct redis_endpoint *e = &m->masters[m->owner[first]];

    (void)fprintf(f, "*3\r\n:%u\r\n:%u\r\n*2\r\n$%zu\r\n%s\r\n:%u\r\n", first, last, strlen(e->host), e->host,
                  e->port);
}

/* The map in the form it came in: a row for each run of slots of one master. */
static unsigned write_rows(FILE *f, const struct redis_map *m)
{
    unsigned rows = 0;

    for (unsigned slot = 0, first = 0; slot < REDIS_SLOTS; slot++) {
        if (slot == 0 || m->owner[slot] != m->owner[slot - 1])
            first = slot;
        if (m->owner[slot] == REDIS_NOBODY ||
            (slot + 1 < REDIS_SLOTS && m->owner[slot + 1] == m->owner[slot]))
            continue;
        write_row(f, m, first, slot);
        rows++;
    }
    return rows;
}

static void check_owners(const struct redis_map *m)
{
    unsigned served = 0;

    for (unsigned slot = 0; slot < REDIS_SLOTS; slot++) {
        HOLDS(m->owner[slot] == REDIS_NOBODY || m->owner[slot] < m->masters_n);
        served += m->owner[slot] != REDIS_NOBODY;
    }
    HOLDS(served == m->served_n && served > 0 && m->masters_n <= REDIS_MASTERS_MAX);
}

static void check_told_again(const struct redis_map *m, struct redis_map *again)
{
    char *rows = NULL, *text = NULL;
    size_t rows_len, len;
    FILE *f = open_memstream(&rows, &rows_len);
    unsigned n = write_rows(f, m);
    struct redis_reply *reply;

    (void)fclose(f);
    f = open_memstream(&text, &len);
    (void)fprintf(f, "*%u\r\n%s", n, rows);
    (void)fclose(f);
    reply = parse(slice_make(text, len));
    HOLDS(reply != NULL);
    HOLDS(redis_map_read(again, reply, &asked) == 0);
    HOLDS(again->served_n == m->served_n);
    for (unsigned slot = 0; slot < REDIS_SLOTS; slot++)
        HOLDS(m->owner[slot] == REDIS_NOBODY
                  ? again->owner[slot] == REDIS_NOBODY
                  : redis_endpoint_eq(&m->masters[m->owner[slot]], &again->masters[again->owner[slot]]));
    resp_reply_free(reply);
    free(rows);
    free(text);
}

static void check_redirect(struct slice text)
{
    struct redis_redirect got, again;
    enum redis_redirect_kind kind = redis_redirect_read(&got, text, &asked);
    char told[REDIS_HOST_MAX + 64];

    if (kind == REDIS_STAYS)
        return;
    HOLDS(got.slot < REDIS_SLOTS && got.to.port > 0 && got.to.host[0]);
    (void)snprintf(told, sizeof(told), "%s %u %s:%u", kind == REDIS_ASK ? "ASK" : "MOVED", got.slot,
                   got.to.host, got.to.port);
    HOLDS(redis_redirect_read(&again, slice_str(told), &asked) == kind);
    HOLDS(again.slot == got.slot && redis_endpoint_eq(&again.to, &got.to));
}

static void check_slot(struct slice key)
{
    char tagged[64];

    HOLDS(redis_slot_of(key) < REDIS_SLOTS);
    if (key.len == 0 || key.len > 32 || memchr(key.data, '{', key.len) || memchr(key.data, '}', key.len))
        return;
    (void)snprintf(tagged, sizeof(tagged), "x{");
    memcpy(tagged + 2, key.data, key.len);
    memcpy(tagged + 2 + key.len, "}y{z}", 5);
    HOLDS(redis_slot_of(slice_make(tagged, key.len + 7)) == redis_slot_of(key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct redis_map map, again;
    const struct slice bytes = slice_make(data, len);
    struct redis_reply *reply = parse(bytes);

    check_slot(bytes);
    check_redirect(bytes);
    if (reply && redis_map_read(&map, reply, &asked) == 0) {
        check_owners(&map);
        check_told_again(&map, &again);
    }
    resp_reply_free(reply);
    return 0;
}
