/*
 * explain_json_priv - what the parts of the JSON of an explanation are written from.
 */
#pragma once
#include "refrain/base/jout.h"
#include "refrain/ops/explain_json.h"

struct showing {
    struct jout j;
    const struct explanation *e;
    const struct explain_request *r;
    const struct explain_show *show;
};

/** Writes "nearest": the recent request that this one resembles most, and in what they differ
 * (explain_json_nearest.c). Says nothing that whoever asks has not written, nor an API defined. */
void explain_json_nearest(struct showing *s);
