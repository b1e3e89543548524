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

struct progress; /* progress.h */

struct config;
struct node;

/* --admin URL, --token-file FILE. */
extern const struct cli_flag remote_flags[];

struct remote {
    char *url;                /* "http://127.0.0.1:9180", without a slash at its end */
    char *socket;             /* of a unix socket; NULL: none */
    char *token;              /* NULL: none was found */
    const char *token_from;   /* where it is from, or why there is none, for whoever is told */
    const char *ca_file;      /* whom to trust beside the system's authorities; NULL: nobody */
    const char *pin;          /* the key that it must have, whoever vouches; NULL: any */
    bool chosen;              /* --admin says where it is */
    long status;              /* of the last answer; 0: there was none */
    void *connection;         /* kept from call to call */
    struct progress *waiting; /* told as time goes while an answer is waited for, which may be up to an hour
                               * then; NULL: nobody is, and it may be a minute */
    struct pool pool;
};

/** Finds out from the flags, else from @conf: admin.address, and its token or the one made in the state
 * directory. false after telling why not. */
bool remote_init(struct remote *r, const struct cli *cli, const struct config *conf);
void remote_done(struct remote *r);

enum remote_verdict {
    REMOTE_DONE,        /* 200: @out holds the answer */
    REMOTE_REFUSED,     /* another status */
    REMOTE_UNREACHABLE, /* nobody answers there */
    REMOTE_FAILED,
};
/** One call: @path is below /api/v1. @body: {NULL, 0}: none. @trouble, which may be NULL, is given what went
 * wrong and what to do about it; cleaned, of one line. */
enum remote_verdict remote_ask(struct remote *r, const char *method, const char *path, struct slice body,
                               struct buf *out, struct buf *trouble);
/** The same; what went wrong is told, all but that nobody answers. */
enum remote_verdict remote_call(struct remote *r, const char *method, const char *path, struct slice body,
                                struct buf *out);
/** Tells that nobody answers. */
void remote_tell_unreachable(const struct remote *r);
/** One call, and whatever went wrong is told. EXIT_DONE, or what the command ends with: EXIT_FINDING where
 * there is no such thing. */
int remote_do(struct remote *r, const char *method, const char *path, struct slice body, struct buf *out);
/** The same, a GET. */
int remote_get(struct remote *r, const char *path, struct buf *out);
/** The same of a path that every instance of this version knows. */
int remote_get_known(struct remote *r, const char *path, struct buf *out);
/** Runs @run with the instance that flags and configuration name. */
int remote_run(const struct cli *cli, int (*run)(const struct cli *cli, struct remote *r));

/* Several GETs at once, waited for beside other descriptors: for who must not be kept waiting. */
enum { REMOTE_ROUND_MAX = 8 };
struct remote_round {
    struct remote *remote;
    size_t n, done_n;
    struct buf out[REMOTE_ROUND_MAX], trouble[REMOTE_ROUND_MAX];
    enum remote_verdict verdict[REMOTE_ROUND_MAX];
    void *asking[REMOTE_ROUND_MAX], *headers, *multi;
};
/** Begins with @n of @paths. false: out of memory. End it with remote_round_done, whatever became of it. */
bool remote_round_begin(struct remote_round *round, struct remote *r, const char *const *paths, size_t n);
struct pollfd;
/** Goes on for at most @timeout_ms, or until one of @fds can be read (its revents say so). true: all are
 * answered. */
bool remote_round_wait(struct remote_round *round, struct pollfd *fds, size_t fds_n, int timeout_ms);
void remote_round_done(struct remote_round *round);

/** Appends @text as one segment of a path. Errors: as buf_reserve. */
int remote_add_segment(struct buf *path, const char *text);

/** An answer as a tree that lives as long as @pool; NULL after telling that it is none. */
struct node *remote_tree(struct pool *pool, struct slice json);
/** The same, telling nothing. */
struct node *remote_tree_quiet(struct pool *pool, struct slice json);
/** The text of a scalar, by dotted path; @otherwise where there is none. */
const char *remote_text(const struct node *tree, const char *path, const char *otherwise);
/** A number, by dotted path; false where there is none. */
bool remote_number(const struct node *tree, const char *path, double *out);
/** Prints @text without what could steer a terminal. */
void remote_print_safe(const char *text);
