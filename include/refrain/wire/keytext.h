/*
 * keytext - the name of an entry in Redis and on disk, by which operators can match: no text of a prompt
 * stands in it. SPEC section 4. Pure. Threads: any.
 */
#pragma once
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/base/digest.h"
#include "refrain/base/slice.h"

/* Bytes of a model's name that a text shows. */
enum { KEYTEXT_MODEL_MAX = 64 };

/**
 * Appends `PREFIX:NAMESPACE:OPERATION:MODEL:HEX`; without a prefix, no colon before the namespace. Bytes
 * outside [A-Za-z0-9._/-] become `_`, the prefix aside; an empty model is `-`.
 * Errors: as buf_add; nothing is appended then.
 */
ATTR_MUST_USE int keytext_add(struct buf *out, struct slice prefix, struct slice namespace_,
                              struct slice operation, struct slice model, const struct digest *key);

/** Appends @model as keytext_add shows it. Errors: as buf_add. */
ATTR_MUST_USE int keytext_add_model(struct buf *out, struct slice model);
