/*
 * config_show - the configuration, and what could be in one, as text: all made from the option table.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/buf.h"

struct config;
struct config_report;

/** Appends every option's value and source, one a line, or as a JSON object; credentials are masked.
 * @changed_only: not those that are built-in. Errors of all: as buf_reserve. */
int config_show(const struct config *conf, bool json, bool changed_only, struct buf *out);
/** Appends what was found, one a line, or as a JSON object. */
int config_show_report(const struct config_report *report, bool json, struct buf *out);
/** Appends a short list of all options, for --help. */
int config_show_options(struct buf *out);
/** Appends docs/configuration.md. */
int config_show_reference(struct buf *out);
/** Appends config/refrain.schema.json (JSON Schema, draft 2020-12). */
int config_show_schema(struct buf *out);
