/* Lists of a running instance that are a table each: a row here says where from and which columns. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "remote.h"
#include "view.h"

enum { LISTS_MAX = 2, PATH_BYTES_MAX = 64, LIMIT_MAX = 1000 };

struct listed {
    const char *member; /* of the answer */
    const char *title;  /* above it, where there are several; NULL: none */
    struct view view;
};

struct listing {
    const char *path, *none; /* said where it is empty */
    unsigned long limit;     /* of the path, by default; 0: it takes none */
    bool (*is_finding)(const struct node *item);
    struct listed lists[LISTS_MAX];
    size_t lists_n;
};

#define COLUMNS(columns) columns, ARRAY_LEN(columns)

/* -- alerts -- */

static enum tone tone_of_alert(const struct node *item)
{
    const char *level = remote_text(item, "level", "");

    return strcmp(level, "info") == 0 ? TONE_FAINT : strcmp(level, "warning") == 0 ? TONE_WARN : TONE_BAD;
}

static bool is_not_only_told(const struct node *item)
{
    return strcmp(remote_text(item, "level", ""), "info") != 0;
}

static const struct view_column alert_columns[] = {
    {"level", "level", FORM_TITLE},
    {"alert", "code", FORM_TEXT},
    {"of", "subject", FORM_TEXT, .shrinks = true},
    {"for", "for_s", FORM_SECONDS},
    {"message", "message", FORM_TEXT, .below = true},
    {"what to do", "what_to_do", FORM_TEXT, .below = true},
};
static const struct listing alerts = {
    "/alerts", "No alerts.", 0, is_not_only_told, {{"alerts", NULL, {COLUMNS(alert_columns), tone_of_alert}}},
    1};

/* -- recommendations -- */

static const struct view_column recommendation_columns[] = {
    {"recommendation", "title", FORM_TITLE, .shrinks = true},
    {"option", "option", FORM_TEXT},
    {"change", "change", FORM_TEXT, .below = true},
    {"evidence", "evidence", FORM_TEXT, .below = true},
    {"impact", "impact", FORM_TEXT, .below = true},
};
static const struct listing recommendations = {
    "/recommendations",
    "No recommendations.",
    0,
    NULL,
    {{"recommendations", NULL, {COLUMNS(recommendation_columns), NULL}}},
    1};

/* -- popular -- */

static const struct view_column popular_columns[] = {
    {"id", "id", FORM_TEXT},
    {"hits", "hits", FORM_COUNT},
    {"size", "bytes", FORM_BYTES, .drop = 2},
    {"tokens in", "tokens_in", FORM_COUNT, .drop = 5},
    {"tokens out", "tokens_out", FORM_COUNT, .drop = 5},
    {"age", "age_s", FORM_SECONDS, .drop = 1},
    {"fresh for", "ttl_s", FORM_SECONDS, .drop = 4, .otherwise = "ever"},
    {"tier", "tier", FORM_TEXT, .drop = 6},
    {"operation", "operation", FORM_TEXT, .drop = 3},
    {"model", "model", FORM_TEXT, .shrinks = true},
    {"namespace", "namespace", FORM_TEXT, .shrinks = true, .drop = 7},
    {"tags", "tags", FORM_WORDS, .shrinks = true, .drop = 8},
};
static const struct listing popular = {"/popular",
                                       "Nothing is stored in memory.",
                                       20,
                                       NULL,
                                       {{"entries", NULL, {COLUMNS(popular_columns), NULL}}},
                                       1};

/* -- slow -- */

static const struct view_column slow_columns[] = {
    {"at", "at", FORM_TEXT},
    {"took", "took_s", FORM_SECONDS},
    {"typical", "typical_s", FORM_SECONDS},
    {"times", "times", FORM_COUNT},
    {"upstream", "upstream_s", FORM_SECONDS, .drop = 2},
    {"result", "result", FORM_TEXT},
    {"status", "status", FORM_TEXT, .drop = 5},
    {"reason", "reason", FORM_TEXT, .shrinks = true, .drop = 3},
    {"tier", "tier", FORM_TEXT, .drop = 6},
    {"operation", "operation", FORM_TEXT, .drop = 1},
    {"model", "model", FORM_TEXT, .shrinks = true},
    {"namespace", "namespace", FORM_TEXT, .shrinks = true, .drop = 7},
    {"request id", "id", FORM_TEXT, .shrinks = true, .drop = 8},
};
static const struct listing slow = {
    "/slow", "Nothing was slow.", 50, NULL, {{"slow", NULL, {COLUMNS(slow_columns), NULL}}}, 1};

/* -- performance -- */

#define TIMES                                                                                                \
    {"n", "n", FORM_COUNT}, {"mean", "mean_s", FORM_SECONDS}, {"median", "median_s", FORM_SECONDS},          \
        {"p95", "p95_s", FORM_SECONDS}, {"p99", "p99_s", FORM_SECONDS},                                      \
        {"min", "min_s", FORM_SECONDS, .drop = 2},                                                           \
    {                                                                                                        \
        "max", "max_s", FORM_SECONDS, .drop = 1                                                              \
    }

static const struct view_column operation_columns[] = {
    {"operation", "operation", FORM_TEXT, .shrinks = true}, {"result", "result", FORM_TEXT}, TIMES};
static const struct view_column part_columns[] = {{"part", "part", FORM_TEXT, .shrinks = true}, TIMES};
static const struct listing performance = {"/performance",
                                           "Nothing was measured yet.",
                                           0,
                                           NULL,
                                           {{"operations", "Requests", {COLUMNS(operation_columns), NULL}},
                                            {"parts", "Parts", {COLUMNS(part_columns), NULL}}},
                                           2};

/* -- instances, namespaces -- */

static const struct view_column instance_columns[] = {
    {"id", "id", FORM_TEXT, .shrinks = true},
    {"name", "name", FORM_TEXT},
    {"itself", "self", FORM_TEXT},
    {"seen ago", "seen_s_ago", FORM_SECONDS},
};
static const struct listing instances = {
    "/instances", "None is known: without tiers.redis each instance is alone.", 0,
    NULL,         {{"instances", NULL, {COLUMNS(instance_columns), NULL}}},     1};

static const struct view_column namespace_columns[] = {
    {"namespace", "namespace", FORM_TEXT, .shrinks = true},
    {"in memory", "entries.memory", FORM_COUNT},
    {"on disk", "entries.disk", FORM_COUNT},
    {"in Redis", "entries.redis", FORM_COUNT},
};
static const struct listing namespaces = {"/namespaces",
                                          "Nothing is stored.",
                                          0,
                                          NULL,
                                          {{"namespaces", NULL, {COLUMNS(namespace_columns), NULL}}},
                                          1};

/* -- clients -- */

static const struct view_column client_columns[] = {
    {"client", "client", FORM_TEXT, .shrinks = true},
    {"requests", "requests.total", FORM_COUNT},
    {"hit rate", "hit_rate", FORM_RATIO},
    {"errors", "requests.error", FORM_COUNT, .drop = 4},
    {"limited", "limited", FORM_COUNT},
    {"now", "concurrent", FORM_COUNT, .drop = 5},
    {"a minute", "requests_per_minute", FORM_COUNT, .drop = 6, .otherwise = "any"},
    {"tokens in saved", "tokens_saved_in", FORM_COUNT, .drop = 2},
    {"tokens out saved", "tokens_saved_out", FORM_COUNT, .drop = 1},
    {"dollars saved", "dollars_saved", FORM_DOLLARS, .drop = 3},
    {"scope", "scope", FORM_TEXT, .shrinks = true, .drop = 8},
    {"namespace", "namespace", FORM_TEXT, .shrinks = true, .drop = 7},
};
static const struct listing clients = {
    "/clients", "There are no clients: whoever reaches the listener may ask.", 0,
    NULL,       {{"clients", NULL, {COLUMNS(client_columns), NULL}}},          1};

/* -- any of them -- */

/* Prints one list; returns how many items it has. */
static size_t print_list(const struct term *term, const struct listing *l, const struct listed *one,
                         const struct node *tree, bool *out_finding)
{
    const struct node *list = node_find(tree, one->member);
    struct table *table;

    if (!list || list->n == 0)
        return 0;
    table = view_table(&one->view, term);
    if (one->title && term->live)
        (void)printf("%s%s\n", one == l->lists ? "" : "\n", one->title);
    else if (one->title && one != l->lists)
        (void)putchar('\n');
    for (size_t i = 0; i < list->n; i++) {
        view_add(&one->view, table, term, list->members[i].node, NULL);
        *out_finding = *out_finding || (l->is_finding && l->is_finding(list->members[i].node));
    }
    table_flush(table);
    table_free(table);
    return list->n;
}

static int print_listing(const struct cli *cli, const struct listing *l, struct slice json)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *tree = remote_tree(&pool, json);
    bool finding = false;
    struct term term;
    size_t n = 0;

    if (!tree)
        return EXIT_COULD_NOT;
    term_init(&term, cli);
    for (size_t i = 0; i < l->lists_n; i++)
        n += print_list(&term, l, &l->lists[i], tree, &finding);
    if (n == 0)
        (void)fprintf(term.live ? stdout : stderr, "%s\n", l->none);
    return fflush(stdout) != 0 ? EXIT_COULD_NOT : finding ? EXIT_FINDING : EXIT_DONE;
}

/* As print_listing tells, without printing. */
static int judge_json(const struct listing *l, struct slice json)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *tree = remote_tree(&pool, json),
                      *list = tree ? node_find(tree, l->lists[0].member) : NULL;

    if (!tree)
        return EXIT_COULD_NOT;
    for (size_t i = 0; list && l->is_finding && i < list->n; i++)
        if (l->is_finding(list->members[i].node))
            return EXIT_FINDING;
    return EXIT_DONE;
}

static int show(const struct cli *cli, struct remote *r, const struct listing *l)
{
    AUTO(buf_done) struct buf answer = BUF_INIT(0);
    char path[PATH_BYTES_MAX];
    unsigned long limit;
    int status;

    if (!cli_number(cli, "limit", 1, LIMIT_MAX, l->limit, &limit))
        return EXIT_COULD_NOT;
    (void)snprintf(path, sizeof(path), limit > 0 ? "%s?limit=%lu" : "%s", l->path, limit);
    status = remote_get_known(r, path, &answer);
    if (status != EXIT_DONE)
        return status;
    if (!cli_has(cli, "json"))
        return print_listing(cli, l, buf_slice(&answer));
    status = cli_print(&answer, 0);
    return status == EXIT_DONE ? judge_json(l, buf_slice(&answer)) : status;
}

static const struct cli_flag limit_flags[] = {
    {"limit", "N", "At most so many, up to 1000.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const plain_lists[] = {output_flags, remote_flags, config_file_flags, NULL};
static const struct cli_flag *const limit_lists[] = {limit_flags, output_flags, remote_flags,
                                                     config_file_flags, NULL};

/* One command of this file. */
#define LISTING(name_)                                                                                       \
    static int run_##name_(const struct cli *cli, struct remote *r)                                          \
    {                                                                                                        \
        return show(cli, r, &(name_));                                                                       \
    }                                                                                                        \
    static int cmd_##name_(const struct cli *cli)                                                            \
    {                                                                                                        \
        return cli->words_n > 0 ? cli_no_words(cli) : remote_run(cli, run_##name_);                          \
    }
LISTING(alerts)
LISTING(recommendations)
LISTING(popular)
LISTING(slow)
LISTING(performance)
LISTING(instances)
LISTING(namespaces)
LISTING(clients)

static const struct cli_example clients_examples[] = {{"refrain clients", NULL}, {NULL, NULL}};
const struct command command_clients = {
    .name = "clients",
    .args = "[FLAGS]",
    .help = "List the clients, and what each asked and saved.",
    .group = GROUP_WATCH,
    .flags = plain_lists,
    .run = cmd_clients,
    .about = "`refrain clients new NAME` makes a token for one.\n",
    .examples = clients_examples,
};

static const struct cli_example alerts_examples[] = {
    {"refrain alerts", NULL},
    {"refrain alerts --json | jq -r '.alerts[].code'", "for scripts"},
    {NULL, NULL},
};
const struct command command_alerts = {
    .name = "alerts",
    .args = "[FLAGS]",
    .help = "Say what wants attention, and what to do about it.",
    .group = GROUP_WATCH,
    .flags = plain_lists,
    .run = cmd_alerts,
    .finding = "there is an alert above `info`",
    .examples = alerts_examples,
};

static const struct cli_example recommendations_examples[] = {{"refrain recommendations", NULL},
                                                              {NULL, NULL}};
const struct command command_recommendations = {
    .name = "recommendations",
    .args = "[FLAGS]",
    .help = "Say what to change, and from what evidence.",
    .group = GROUP_WATCH,
    .flags = plain_lists,
    .run = cmd_recommendations,
    .examples = recommendations_examples,
};

static const struct cli_example popular_examples[] = {
    {"refrain popular", NULL},
    {"refrain popular --limit 5 --json | jq -r '.entries[].id'", NULL},
    {NULL, NULL},
};
const struct command command_popular = {
    .name = "popular",
    .args = "[FLAGS]",
    .help = "List the entries that are asked for most.",
    .group = GROUP_ENTRIES,
    .flags = limit_lists,
    .run = cmd_popular,
    .about = "Those in memory, by the hits they had since they came there.\n",
    .examples = popular_examples,
};

static const struct cli_example slow_examples[] = {
    {"refrain slow --limit 10", NULL},
    {"refrain slow | cut -f 2,6,11", "in a pipe cells are separated by tabs"},
    {NULL, NULL},
};
const struct command command_slow = {
    .name = "slow",
    .args = "[FLAGS]",
    .help = "List recent requests that took much longer than usual.",
    .group = GROUP_WATCH,
    .flags = limit_lists,
    .run = cmd_slow,
    .about = "Slow is what took at least twice the mean of the lowest 80 % of its kind.\n",
    .examples = slow_examples,
};

static const struct cli_example performance_examples[] = {{"refrain performance", NULL}, {NULL, NULL}};
const struct command command_performance = {
    .name = "performance",
    .args = "[FLAGS]",
    .help = "Tell how long requests and their parts take.",
    .group = GROUP_WATCH,
    .flags = plain_lists,
    .run = cmd_performance,
    .examples = performance_examples,
};

static const struct cli_example instances_examples[] = {{"refrain instances", NULL}, {NULL, NULL}};
const struct command command_instances = {
    .name = "instances",
    .args = "[FLAGS]",
    .help = "List the instances that share this one's Redis.",
    .group = GROUP_WATCH,
    .flags = plain_lists,
    .run = cmd_instances,
    .examples = instances_examples,
};

static const struct cli_example namespaces_examples[] = {{"refrain namespaces", NULL}, {NULL, NULL}};
const struct command command_namespaces = {
    .name = "namespaces",
    .args = "[FLAGS]",
    .help = "List namespaces, and how many entries of each lie where.",
    .group = GROUP_ENTRIES,
    .flags = plain_lists,
    .run = cmd_namespaces,
    .about = "It reads every tier from end to end: not for every minute.\n",
    .examples = namespaces_examples,
};
