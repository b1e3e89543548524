/*
 * remote - a running instance, as the command line reaches it: where its API is, with which token, one call
 * after another. What goes wrong is told on standard error, with what to do about it.
 */
#pragma once
#include <stdbool.h>

#include "cli.h"
#include "pool.h"
#include "refrain/base/buf.h"
#include "refrain/base/slice.h"

struct config;
struct node;

/* --admin URL, --token-file FILE. */
extern const struct cli_flag remote_flags[];

struct remote {
    char *url;            /* "http://127.0.0.1:9180", without a slash at its end */
    char *socket;         /* of a unix socket; NULL: none */
    char *token;          /* NULL: none was found */
    const char *no_token; /* why not, for whoever is told */
    bool chosen;          /* --admin says where it is */
    long status;          /* of the last answer; 0: there was none */
    struct pool pool;
};

/** Finds out from the flags, else from @conf: admin.address, and its token or the one made in the state
 * directory. false after telling why not. */
bool remote_init(struct remote *r, const struct cli *cli, const struct config *conf);
void remote_done(struct remote *r);

enum remote_verdict {
    REMOTE_DONE,        /* 200: @out holds the answer */
    REMOTE_REFUSED,     /* another status: told */
    REMOTE_UNREACHABLE, /* nobody answers there: not told */
    REMOTE_FAILED,      /* told */
};
/** One call: @path is below /api/v1. @body: {NULL, 0}: none. */
enum remote_verdict remote_call(struct remote *r, const char *method, const char *path, struct slice body,
                                struct buf *out);
/** Tells that nobody answers. */
void remote_tell_unreachable(const struct remote *r);

/** Appends @text as one segment of a path. Errors: as buf_reserve. */
int remote_add_segment(struct buf *path, const char *text);

/** An answer as a tree that lives as long as @pool; NULL after telling that it is none. */
struct node *remote_tree(struct pool *pool, struct slice json);
/** The text of a scalar, by dotted path; @otherwise where there is none. */
const char *remote_text(const struct node *tree, const char *path, const char *otherwise);
/** Prints @text without what could steer a terminal. */
void remote_print_safe(const char *text);
