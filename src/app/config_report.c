#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"
#include "refrain/base/attr.h"

enum { FAULTS_MAX = 1000 }; /* nobody reads more */

void config_report_done(struct config_report *r)
{
    for (size_t i = 0; i < r->n; i++)
        free((char *)r->faults[i].text);
    free(r->faults);
    *r = (struct config_report)CONFIG_REPORT_INIT;
}

void origin_print(const struct origin *o, char *out, size_t cap)
{
    switch (o->source) {
    case SOURCE_BUILT_IN:
        (void)snprintf(out, cap, "built-in");
        break;
    case SOURCE_PRESET:
        (void)snprintf(out, cap, "preset %s", o->where);
        break;
    case SOURCE_ENV:
        (void)snprintf(out, cap, "environment %s", o->where);
        break;
    case SOURCE_FILE:
    case SOURCE_FLAG:
        if (o->line > 0)
            (void)snprintf(out, cap, "%s:%u", o->where, o->line);
        else
            (void)snprintf(out, cap, "%s", o->where);
        break;
    }
}

static void ATTR_PRINTF(5, 0) add(struct config_report *r, bool warning, const struct origin *o,
                                  const char *name, const char *fmt, va_list args)
{
    char where[512], what[1024];
    char *text;

    if (!warning)
        r->errors_n++;
    if (r->n >= FAULTS_MAX)
        return;
    r->faults = reallocarray(r->faults, r->n + 1, sizeof(*r->faults));
    if (!r->faults)
        abort();
    where[0] = '\0';
    if (o)
        origin_print(o, where, sizeof(where));
    (void)vsnprintf(what, sizeof(what), fmt, args);
    if (name && slice_ends(slice_str(where), slice_str(name)))
        name = NULL; /* "--set log.level" has said it */
    if (asprintf(&text, "%s%s%s%s%s", where, o ? ": " : "", name ? name : "", name ? ": " : "", what) < 0)
        abort();
    r->faults[r->n++] = (struct config_fault){warning, text};
}

void report_error(struct config_report *r, const struct origin *o, const char *name, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(r, false, o, name, fmt, args);
    va_end(args);
}

void report_warning(struct config_report *r, const struct origin *o, const char *name, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    add(r, true, o, name, fmt, args);
    va_end(args);
}
