/* breakers: the breakers of a running instance, and a word on one. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "remote.h"
#include "view.h"

static enum tone tone_of(const struct node *b)
{
    const char *state = remote_text(b, "state", "");

    return strcmp(state, "closed") == 0 ? TONE_GOOD : strcmp(state, "open") == 0 ? TONE_BAD : TONE_WARN;
}

static const struct view_column columns[] = {
    {"upstream", "upstream", FORM_TEXT},
    {"tier", "tier", FORM_TEXT},
    {"kind", "kind", FORM_TEXT},
    {"model", "model", FORM_TEXT, .shrinks = true, .drop = 2, .empty = "no model"},
    {"state", "state", FORM_TITLE},
    {"for", "for_s", FORM_SECONDS},
    {"failed", "failed", FORM_COUNT},
    {"next probe", "next_probe_s", FORM_SECONDS, .drop = 1},
    {"held", "held", FORM_TEXT, .drop = 3},
    {"cause", "cause", FORM_TEXT, .shrinks = true},
};
static const struct view view = {columns, ARRAY_LEN(columns), tone_of};

static int show(const struct cli *cli, struct slice json)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *tree = remote_tree(&pool, json), *list = tree ? node_find(tree, "breakers") : NULL;
    struct table *table;
    int status = EXIT_DONE;
    struct term term;

    if (!list)
        return EXIT_COULD_NOT;
    term_init(&term, cli);
    table = view_table(&view, &term);
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(remote_text(list->members[i].node, "state", ""), "closed") != 0)
            status = EXIT_FINDING;
        view_add(&view, table, &term, list->members[i].node, NULL);
    }
    if (cli_has(cli, "json"))
        (void)fwrite(json.data, 1, json.len, stdout);
    else
        table_flush(table);
    table_free(table);
    return fflush(stdout) == 0 ? status : EXIT_COULD_NOT;
}

static int call(const struct cli *cli, struct remote *r, const char *method, const char *path,
                struct slice body)
{
    AUTO(buf_done) struct buf answer = BUF_INIT(0);
    int status;

    if (remote_do(r, method, path, body, &answer) != EXIT_DONE)
        return EXIT_COULD_NOT;
    status = show(cli, buf_slice(&answer));
    return body.data && status == EXIT_FINDING ? EXIT_DONE : status; /* to open one is no finding */
}

static int command(const struct cli *cli, struct remote *remote)
{
    AUTO(buf_done) struct buf path = BUF_INIT(4096), body = BUF_INIT(4096);
    int r = buf_addf(&path, "/breakers/");

    if (r == 0)
        r = remote_add_segment(&path, cli->words[1]);
    if (r == 0)
        r = buf_add_byte(&path, '/');
    if (r == 0)
        r = remote_add_segment(&path, cli->words[2]);
    if (r == 0)
        r = buf_add_byte(&path, '\0');
    if (r == 0)
        r = buf_add_slice(&body, SLICE_OF("{\"action\":"));
    if (r == 0)
        r = buf_add_json(&body, slice_str(cli->words[0]));
    if (r == 0)
        r = buf_add_byte(&body, '}');
    return r < 0 ? EXIT_COULD_NOT : call(cli, remote, "POST", path.data, buf_slice(&body));
}

static int list(const struct cli *cli, struct remote *remote)
{
    return call(cli, remote, "GET", "/breakers", (struct slice){NULL, 0});
}

static const char *const actions[] = {"open", "close", "reset", NULL};

static bool is_action(const char *word)
{
    for (const char *const *a = actions; *a; a++)
        if (strcmp(word, *a) == 0)
            return true;
    return false;
}

static int cmd_breakers(const struct cli *cli)
{
    if (cli->words_n != 0 && (cli->words_n != 3 || !is_action(cli->words[0]))) {
        (void)fputs("refrain: breakers: expected no words, or: open|close|reset UPSTREAM|TIER KIND\n",
                    stderr);
        return EXIT_COULD_NOT;
    }
    return remote_run(cli, cli->words_n == 3 ? command : list);
}

static const struct cli_flag *const lists[] = {output_flags, remote_flags, config_file_flags, NULL};
static const struct cli_example examples[] = {
    {"refrain breakers", NULL},
    {"refrain breakers open openai validation", "store nothing of it until told otherwise"},
    {"refrain breakers reset openai availability", "as new"},
    {"refrain breakers open redis tier", "neither ask nor fill it until told otherwise"},
    {NULL, NULL},
};
const struct command command_breakers = {
    .name = "breakers",
    .args = "[open|close|reset UPSTREAM|TIER KIND] [FLAGS]",
    .help = "List the breakers of an instance, or tell one what to do.",
    .group = GROUP_WATCH,
    .flags = lists,
    .run = cmd_breakers,
    .finding = "it lists them and one is not closed",
    .examples = examples,
    .words = CLI_WORDS_CHOICE,
    .word_choices = actions,
};
