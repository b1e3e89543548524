/*
 * dashboard_files - what the dashboard is made of; embed.py makes the table at build. Constant.
 */
#pragma once
#include <stddef.h>

#include "refrain/base/slice.h"

/* One representation (RFC 9110 section 3.2) of a file. */
struct dashboard_form {
    struct slice bytes;
    const char *etag; /* strong: of these bytes */
};

struct dashboard_file {
    const char *path;
    const char *type;
    struct dashboard_form plain, gzip;
};

extern const struct dashboard_file dashboard_files[];
extern const size_t dashboard_files_n;
