/*
 * upload - a request body on its way through: what the client has sent and upstream has not yet taken.
 * Bounded; the client is held back while it is full. Joins an exchange and the fetch that it feeds; either
 * may end first.
 *
 * Threads: one loop's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"
#include "refrain/wire/header.h"

struct upload;

/** Holds one reference. @bytes_max bounds what waits here. NULL: no memory. */
struct upload *upload_new(size_t bytes_max);
struct upload *upload_ref(struct upload *u);
/** NULL is fine. */
void upload_unref(struct upload *u);

/* -- the client's side -- */

/** Takes as much of @bytes as there is room for; returns how much. Short: on_room will be called. After the
 * taker has ended everything is taken, and dropped. */
size_t upload_push(struct upload *u, struct slice bytes);
/** Adds a trailer field. What does not fit in memory is left out. */
void upload_trailer(struct upload *u, struct slice name, struct slice value);
/** The body is whole. */
void upload_finish(struct upload *u);
/** The body will never be whole. */
void upload_abort(struct upload *u);
/** Who is called when there is room again; NULL: nobody. */
void upload_on_room(struct upload *u, void (*on_room)(void *arg), void *arg);

/* -- the taker's side -- */

/** Fills @buf: bytes, 0 at the end, -EAGAIN when nothing is there yet (on_more will be called), -ECANCELED
 * when it was aborted. */
int64_t upload_take(struct upload *u, char *buf, size_t cap);
void upload_trailers(struct upload *u, void (*add)(void *arg, struct slice name, struct slice value),
                     void *arg);
void upload_on_more(struct upload *u, void (*on_more)(void *arg), void *arg);
/** Takes no more: the client's side runs free. */
void upload_close(struct upload *u);
