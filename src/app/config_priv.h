/*
 * config_priv - what the parts of the configuration reader say to each other.
 *
 *   file ──► tree ─┐  config_yaml, config_json        each tree is checked against the option table
 * (config_check), environment ───┤  config_args                     so that a fault is found even where
 * something else goes before; flags ─────────┤                                  then they are laid over each
 * other (config_tree), completed preset ────────┘                                  (config_finish) and bound
 * to struct config (config_bind).
 */
#pragma once
#include "config.h"
#include "config_table.h"
#include "config_tree.h"

/* Where a config came from, and what each option of it is: for `show` and for a reload. */
struct config_entry {
    const struct option_row *row;
    const char *name; /* "upstreams.openai.url" */
    const char *text; /* the value as it may be shown, in one form; "" when not set */
    const char *raw;  /* what tells one value from another; holds secrets */
    struct origin origin;
};

struct config_origin {
    struct pool pool;              /* holds all of the config */
    struct config_sources sources; /* a copy */
    struct config_entry *entries;
    size_t entries_n, entries_cap;
};

/* Where an item of a section begins, if only by `{}`. */
struct item_origin {
    const char *prefix; /* "rules[0]." */
    struct origin origin;
    struct item_origin *next;
};

/* One run of config_load. */
struct loading {
    struct pool *pool;
    const struct config_sources *sources;
    struct config_report *report;
    struct config *conf;
    size_t nodes_max; /* of a tree; 0: TREE_NODES_MAX, as is due to a file */
    struct item_origin *items;
};

/* -- report (config_report.c) -- */

/** @o: where it comes from, or NULL: from nowhere, since it is missing. @name is the option's, or NULL. */
void report_error(struct config_report *r, const struct origin *o, const char *name, const char *fmt, ...)
    ATTR_PRINTF(4, 5);
void report_warning(struct config_report *r, const struct origin *o, const char *name, const char *fmt, ...)
    ATTR_PRINTF(4, 5);
/** "refrain.yaml:12", "environment X", "--set x", "preset production", "built-in". */
void origin_print(const struct origin *o, char *out, size_t cap);

/* -- sources -- */

/** A file's tree; NULL after telling why not. The file's name decides between JSON (".json") and YAML. */
struct node *tree_from_file(struct loading *l, const char *file);
/** The same of a file that holds one section alone, as if it stood under its name. */
struct node *tree_from_section_file(struct loading *l, const char *file, const char *section);
struct node *tree_from_yaml(struct loading *l, struct slice text, struct origin origin);
struct node *tree_from_json(struct loading *l, struct slice text, struct origin origin);
struct node *tree_from_env(struct loading *l);
struct node *tree_from_flags(struct loading *l);
struct node *tree_from_preset(struct loading *l, const char *preset);
/** A variable of the environment given; NULL when not set. */
const char *env_get(const struct config_sources *s, struct slice name);
/** All of a small file in @pool. Errors: negative errno; -EFBIG over @max. */
int file_read(struct pool *pool, const char *path, size_t max, struct slice *out);

/* -- meaning -- */

/** Reports what in @tree no option is, and every value of a wrong type or out of range; takes those out of
 * it. */
void config_check(struct loading *l, struct node *tree);
/** Completes the tree: `upstream`, the only upstream's route, the state directory. */
void config_complete(struct loading *l, struct node *tree);
/** Fills l->conf and its entries from a checked tree. */
void config_bind(struct loading *l, const struct node *tree);

/* -- values against each other: what cannot be served is an error, what is merely unwise a warning -- */

/** All that follows. */
void config_judge(struct loading *l);
/** Rules, operations of the operator's own, event rules (config_judge_rules.c). */
void config_judge_rules(struct loading *l);
/** Upstreams, their credentials and routes (config_judge_upstreams.c); completes what is made of them. */
void config_judge_upstreams(struct loading *l);
/** Clients and their tokens (config_judge_clients.c). */
void config_judge_clients(struct loading *l);
/** TLS of the listeners (config_tls.c); reads the files where they are to be used. */
void config_judge_tls(struct loading *l);
/** Redis (config_redis.c); takes its URL apart. */
void config_judge_redis(struct loading *l);
/** True for http:// to what seems another machine of another network. */
bool config_url_is_exposed(const char *url);

/** Where the option of that full name comes from; asserts that there is one. */
const struct origin *judge_origin(const struct loading *l, const char *name);
/** Reports @what of the option @name. */
void judge_warn(struct loading *l, const char *name, const char *what);
void judge_fail(struct loading *l, const char *name, const char *what);
/** Warns when the file @path (NULL: none) cannot be read: a configuration may be judged where it is not used.
 */
void judge_file(struct loading *l, const char *name, const char *path);
/** The words of @list, the option @name, taken for what they mean. */
enum cache_scope judge_scope(struct loading *l, const char *name, struct text_list *list);

/* What may have been meant by a name. */
struct judge_guess {
    const char *name; /* NULL: nothing that is known */
    unsigned distance;
};
/** @candidate is the better guess where it is nearer to what was @wrote. */
void judge_nearest(const char *wrote, const char *candidate, struct judge_guess *guess);
/** Reports that there is no such @what ("upstream"), and what may have been meant. */
void judge_unknown(struct loading *l, const char *name, const char *what, const char *wrote,
                   const struct judge_guess *guess);

/* -- finding options -- */

/** The entry of that full name; asserts that there is one. */
const struct config_entry *entry_of(const struct config *conf, const char *name);

/** The row that @path names at the top, or inside an item of a section (the text behind "upstreams.x."), and
 * whether the path is that of a secret's file. NULL: there is none. */
const struct option_row *row_find(const struct option_section *s, const char *path, bool *out_is_file);
const struct option_section *section_find(const char *name);
