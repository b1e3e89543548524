/*
 * config_table_priv - what the two halves of the option table are written in.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "config_table.h"

#define FIELD(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

/* clang-format off */
#define RANGE(low, high)    .min = (low), .max = (high)
#define WORD(text, number)  .word = (text), .word_value = (number)
/* clang-format on */

enum { DAY_S = 86400, YEAR_S = 365 * DAY_S };

#define KIB    (INT64_C(1) << 10)
#define MIB    (INT64_C(1) << 20)
#define GIB    (INT64_C(1) << 30)
#define SECOND 1000
#define HOUR   3600000
#define DAY    86400000

extern const char *const option_origin_schemes[];

/* clang-format off */
/* The same options twice: for all upstreams at the top, and for one. Name, type, default, range, field, help. */
#define BREAKER_OPTIONS(X)                                                                                   \
    X("validation.failures", COUNT, "25", 1, 1000000, validation.failures,                                   \
      "So many broken answers, a good one taking one off, and nothing of the upstream is stored any more."), \
    X("validation.open_for", MS, "300s", 1, DAY, validation.open_for_ms,                                     \
      "How long, times the number of times in a row that it has opened, up to ten. Then a good answer ends " \
      "it."),                                                                                                \
    X("availability.ratio", DECIMAL, "0.5", 1, 1000, availability.ratio_permille,                            \
      "Opens for a model when this share of its calls fails: no connection, no answer in time, cut, 502, "   \
      "503, 504."),                                                                                          \
    X("availability.samples", COUNT, "20", 1, 1000000, availability.samples,                                 \
      "Fewer calls in the window than this tell nothing."),                                                  \
    X("availability.window", MS, "10s", 10, DAY, availability.window_ms,                                     \
      "Calls older than this do not count."),                                                                \
    X("availability.open_for", MS, "10s", 1, DAY, availability.open_for_ms,                                  \
      "How long it stays open before a call is sent as a probe."),                                           \
    X("availability.fail_fast", BOOL, "false", 0, 0, availability.fail_fast,                                 \
      "While it is open and nothing stale can be served: answer 503 at once instead of asking.")
/* clang-format on */

/* Those of config_table_items.c. */
extern const struct option_section upstreams_section;
extern const struct option_section clients_section;
extern const struct option_section routes_section;
extern const struct option_section rules_section;
extern const struct option_section event_rules_section;
extern const struct option_section operations_section;
extern const struct option_section pricing_section;
