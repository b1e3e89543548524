/*
 * The parts of canon: the walk over the text (canon.c), strings (canon_string.c), numbers (canon_number.c),
 * and what a request tells the cache about itself (canon_facts.c).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/wire/canon.h"

/*
 * Faults of two kinds: a *blemish* (duplicate member, number out of range …) is remembered, and the walk goes
 * on, since the facts are wanted all the same; a *stop* ends it, because what follows cannot be understood.
 */
struct canon_faults {
    const char *blemish, *stop; /* the first of each, as a constant text; NULL: none */
};

static inline void canon_blemish(struct canon_faults *f, const char *why)
{
    if (!f->blemish)
        f->blemish = why;
}

static inline bool canon_stop(struct canon_faults *f, const char *why)
{
    if (!f->stop)
        f->stop = why;
    return false;
}

enum canon_kind { KIND_NULL, KIND_FALSE, KIND_TRUE, KIND_NUMBER, KIND_STRING, KIND_ARRAY, KIND_OBJECT };

/* Where in a request a value stands, as far as that means something to the cache. */
enum canon_place {
    PLACE_NONE,
    PLACE_ROOT,
    PLACE_MODEL,
    PLACE_STREAM,
    PLACE_TEMPERATURE,
    PLACE_MESSAGES,
    PLACE_STATE_IF_TRUE,
    PLACE_STATE_IF_THERE,
    PLACE_STATE_IF_STRING,
    PLACE_SERVER_TOOL_IF_THERE,
    PLACE_SERVER_TOOL_IF_TRUE,
    PLACE_TOOLS,
    PLACE_TOOL,
    PLACE_TOOL_TYPE,
    PLACE_TOOL_ENVIRONMENT,
    PLACE_TOOL_ENVIRONMENT_TYPE,
    PLACE_PROMPT,
    PLACE_PROMPT_VERSION,
    PLACE_FORMAT,
    PLACE_FORMAT_TYPE,
    PLACE_FORMAT_ITSELF,
    PLACE_MIME_TYPE,
    PLACE_TEXT,
    PLACE_OPTIONS,
    PLACE_WORDS, /* a message, or what it says */
    PLACE_COUNT
};

/* A value that was read whole. */
struct canon_value {
    enum canon_kind kind;
    struct slice text;  /* a number's text, or a string's without its quotes; else empty */
    bool escaped;       /* the string's text holds escapes */
    struct slice plain; /* the string as the canonical text has it: escaped where it must be; good until more
                         * is written */
    size_t count;       /* elements or members */
};

struct canon_noted {
    bool state, server_tools, prompt_versioned;
};

/* The place of the member @name of an object that stands at @parent. */
enum canon_place canon_place_member(const struct canon_rules *rules, enum canon_place parent,
                                    struct slice name);
/* The place of the elements of an array that stands at @parent. */
enum canon_place canon_place_element(enum canon_place parent);
/* Writes down what the value at @place says. */
void canon_note(struct canon_facts *facts, struct canon_noted *noted, enum canon_place place,
                const struct canon_value *value);

/* What canon_string_read may write beyond what it moves on by: a word, for speed. */
enum { CANON_STRING_EXTRA = 16 };
/*
 * Reads the string at *@in, whose opening quote is there, and writes it at *@out, where as many bytes as are
 * left to @end and CANON_STRING_EXTRA more have room. Both move on. False, and nothing moves, after a stop.
 */
bool canon_string_read(const char **in, const char *end, char **out, struct canon_value *value,
                       struct canon_faults *faults);

enum canon_number { NUMBER_OK, NUMBER_OVER_64_BITS, NUMBER_OUT_OF_RANGE };

/* A JSON number, cut up. @fraction and @exponent are empty when not there; @exponent without its sign. */
struct canon_number_text {
    bool negative, exponent_negative;
    struct slice integer, fraction, exponent;
};

static inline const char *canon_skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Cuts up the number at @p (RFC 8259 section 6). Its end, or NULL: it is none. */
const char *canon_number_split(const char *p, const char *end, struct canon_number_text *out);

/* The most that canon_number_write needs at @out beyond the digits of the number. */
enum { CANON_NUMBER_EXTRA = 64 };

/*
 * Writes the canonical form at @out, where as many bytes as the number has digits and CANON_NUMBER_EXTRA more
 * have room. *@out_len is written on NUMBER_OK.
 */
enum canon_number canon_number_write(const struct canon_number_text *number, char *out, size_t *out_len);
