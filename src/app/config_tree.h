/*
 * config_tree - configuration before it has meaning: what each source says, as nested maps, lists and texts
 * that know where they stand. Every source becomes such a tree; the trees are laid one over the other.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "pool.h"
#include "refrain/base/slice.h"

/* In the order of who goes before whom. */
enum source { SOURCE_BUILT_IN, SOURCE_PRESET, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

struct origin {
    enum source source;
    const char *where; /* "refrain.yaml", "REFRAIN_UPSTREAM", "--set log.level" */
    unsigned line;     /* of a file; 0 elsewhere */
};

enum node_kind {
    NODE_NULL,
    NODE_PLAIN,  /* a text that may stand for anything: YAML without quotes, environment, flags */
    NODE_TEXT,   /* in quotes */
    NODE_NUMBER, /* JSON's own */
    NODE_BOOL,
    NODE_LIST,
    NODE_MAP,
};

struct member {
    const char *name; /* NULL in a list */
    struct node *node;
};

struct node {
    enum node_kind kind;
    const char *text; /* of scalars; "" of NODE_NULL */
    struct origin origin;
    bool told;              /* its fault is reported: nothing more is to be said of it */
    struct member *members; /* in the order written */
    size_t n, cap;
};

/* Bounds on what a file may hold. */
enum { TREE_DEPTH_MAX = 16, TREE_NODES_MAX = 20000, TREE_FILE_BYTES_MAX = 4 << 20 };

struct node *node_new(struct pool *p, enum node_kind kind, struct slice text, struct origin origin);
bool node_is_scalar(const struct node *n);
void node_add(struct pool *p, struct node *to, const char *name, struct node *child);
/** The member of that name; NULL when there is none, or @map is NULL or no map. */
struct node *node_get(const struct node *map, struct slice name);
/** The same by dotted path; "" is @map itself. */
struct node *node_find(const struct node *map, const char *path);
/** Puts @leaf at a dotted path, making the maps between, and replacing what was there. */
void node_put(struct pool *p, struct node *map, const char *path, struct node *leaf);
/** @under with @over laid on it: maps are joined, anything else is replaced. Shares nodes with both. */
struct node *node_merge(struct pool *p, struct node *under, struct node *over);
/** Appends a tree that was JSON as JSON. Errors: as buf_reserve. */
struct buf;
int node_write_json(const struct node *n, struct buf *out);
