/*
 * option - one configurable thing: its row says all there is to know of it, and the code here turns its text
 * into a value and back. Knows no particular option; the rows are in config_table*.c.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

enum maybe { MAYBE_UNSAID, MAYBE_NO, MAYBE_YES };

enum option_type {
    /* numbers, with the C type of the field */
    OPTION_BOOL,    /* bool */
    OPTION_COUNT,   /* unsigned or uint64_t */
    OPTION_BYTES,   /* uint64_t: "500MiB" */
    OPTION_MS,      /* int64_t, milliseconds: "5s" */
    OPTION_SECONDS, /* int64_t, seconds: "1h" */
    OPTION_DECIMAL, /* unsigned or uint64_t, in thousandths: "0.5" */
    OPTION_DOLLARS, /* uint64_t, in millionths: "0.15" */
    OPTION_MAYBE,   /* enum maybe: a truth, or a word where there is none */
    OPTION_ENUM,    /* an enum: its place among the choices */
    /* texts: const char * */
    OPTION_TEXT,
    OPTION_PATH,    /* of a file or directory */
    OPTION_NAME,    /* letters, digits, ".", "_" and "-" */
    OPTION_PREFIX,  /* of a request's path: "/openai/" */
    OPTION_URL,     /* scheme among the choices */
    OPTION_ADDRESS, /* address_parse() takes it */
    /* the rest */
    OPTION_LIST,      /* struct text_list */
    OPTION_NAMES,     /* a list as const char *const *, NULL-terminated */
    OPTION_HEADERS,   /* the same, "Name: value" each: written as a map */
    OPTION_SECRET,    /* struct secret_conf; NAME_file names the file it lies in */
    OPTION_LIFETIMES, /* a counted array of struct named_ttl: written as a map */
};

enum {
    OPTION_FIXED = 1,       /* cannot change while running */
    OPTION_MASKED = 2,      /* may hold a credential: never shown */
    OPTION_REQUIRED = 4,    /* of an item of a list or map */
    OPTION_ONE_OR_MANY = 8, /* a list of one may be written without its brackets */
    OPTION_FIELDS = 16,     /* a list of names of header fields */
    OPTION_UNSAID = 32,     /* a number that need not be said: zero then, and shown as nothing */
    OPTION_NUMBERS = 64,    /* a list of numbers from min to max */
    OPTION_USERINFO = 128,  /* a URL that may hold a credential before its @, shown without */
};

struct option_row {
    const char *name; /* dotted; within its section */
    enum option_type type;
    unsigned flags;
    const char *fallback; /* NULL: not set, or zero */
    int64_t min, max;     /* of numbers; both 0: whatever the type holds */
    const char *word;     /* a word that stands for a number: "auto", "off", "none" */
    int64_t word_value;
    const char *const *choices; /* NULL-terminated */
    const char *inherits; /* of a section: the option at the top that stands in where this is not given */
    const char *env;      /* a customary name in the environment beside REFRAIN_… */
    const char *help;
    size_t offset, size, count_offset;
};

bool option_is_number(const struct option_row *row);

/** The number that @text stands for. false: it stands for none, or for one out of range; @out untouched. */
bool option_parse(const struct option_row *row, struct slice text, int64_t *out);
/** True when @text may be the value of a text option. */
bool option_text_ok(const struct option_row *row, struct slice text);
/** Appends what would have been right: "a size such as 500MiB". Fits 400 bytes. */
void option_expected(const struct option_row *row, struct buf *out);
/** Appends a number in the form that option_parse takes, as short as it goes. */
void option_format(const struct option_row *row, int64_t number, struct buf *out);

/** How many letters must be inserted, removed, replaced or swapped to make @b of @a. */
unsigned text_distance(struct slice a, struct slice b);
/** True when @b may be what someone meant who wrote @a. */
bool text_is_near(struct slice a, struct slice b, unsigned *out_distance);
