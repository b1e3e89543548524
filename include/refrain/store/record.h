/*
 * record - an entry as it lies below memory, on disk and in Redis: a head of RECORD_HEAD_BYTES, metadata as
 * JSON, the body as the entry has it. Byte by byte in docs/stored-form.md. Once written, a version is read
 * for ever; what is read is believed only as far as it is checked: version, own key, sums or seals, and then
 * all that an entry promises (entry_check). Nothing read can make the process fail.
 *
 * Pure but for allocation and random nonces; no locks. CPU work of about a nanosecond a byte and 5 to 10
 * microseconds: large ones belong on the thread pool. Threads: any.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/digest.h"
#include "refrain/base/slice.h"
#include "refrain/store/blob.h"
#include "refrain/store/entry_box.h"
#include "refrain/store/seal.h"

enum {
    RECORD_HEAD_BYTES = 160,
    RECORD_META_BYTES_MAX = 1 << 20,
    RECORD_LOOK_BYTES = 4096, /* so much of a record's start nearly always holds its metadata */
};

/* How records are written and read. Plain; lies with the owner, whose keys outlive their use. */
struct record_codec {
    const struct seal_keys *keys; /* NULL: records are not sealed. Otherwise all are, and no other is read */
};

enum record_result {
    RECORD_OK,
    RECORD_SHORT,     /* of record_look: more bytes are needed */
    RECORD_CORRUPT,   /* not a record, or not what was written */
    RECORD_OTHER_KEY, /* a record, but somebody else's */
    RECORD_FUTURE,    /* of a version that is not known here */
    RECORD_LOCKED,    /* sealed by a key that is not known here */
    RECORD_UNSEALED,  /* open for everybody to write, where records are to be sealed */
    RECORD_TOO_LARGE, /* of record_pack: its metadata, or the number of its fields */
    RECORD_NO_MEMORY,
    RECORD_RESULTS
};
const char *record_result_name(enum record_result r); /* "corrupt": a label of metrics, a word of logs */
/** True where what was read is of use to nobody, and best deleted: a record of the future, or sealed by an
 * unknown key, may be another instance's. */
bool record_is_rubbish(enum record_result r);

/**
 * Packs @e; @expires_ms and @hits are what has become of it since (struct entry_ref): its gone_ms moves with
 * expires_ms. Its identity copy (plain) stays behind. *@out is the caller's.
 * Errors: RECORD_TOO_LARGE, RECORD_NO_MEMORY; RECORD_CORRUPT, something in it could not be read back.
 */
enum record_result record_pack(const struct entry *e, int64_t expires_ms, uint64_t hits,
                               const struct record_codec *codec, struct blob **out);

/* What a record tells. */
struct record_seen {
    struct entry_box *box; /* the entry; the caller's. Of record_look without its body */
    uint64_t hits;
    uint64_t body_bytes;
};
/** Reads a whole record, which must be that of @key, and checks all of it. On errors @out is untouched. */
enum record_result record_read(struct slice record, const struct digest *key,
                               const struct record_codec *codec, struct record_seen *out);
/**
 * Reads what a record tells beside its body, from its start: label_of(entry_box_entry(out->box)) and the
 * like. Head and metadata are checked, the body is not. @key: NULL, any. RECORD_SHORT: *@out_wanted is how
 * many bytes from its start are needed.
 */
enum record_result record_look(struct slice start, const struct digest *key, const struct record_codec *codec,
                               struct record_seen *out, size_t *out_wanted);
