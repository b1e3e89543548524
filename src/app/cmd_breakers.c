/* breakers: the breakers of a running instance, and a word on one. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "config.h"
#include "config_tree.h"
#include "refrain/base/attr.h"
#include "remote.h"

int cmd_breakers_help(void)
{
    (void)puts("\nWithout words it lists them, and exits with 1 when one is not closed.\n\n"
               "  refrain breakers\n"
               "  refrain breakers open openai validation      store nothing of it until told otherwise\n"
               "  refrain breakers reset openai availability   as new\n"
               "  refrain breakers open redis tier             neither ask nor fill it until told otherwise");
    return EXIT_DONE;
}

static void print_row(const char *upstream, const char *kind, const char *state, const char *more)
{
    (void)printf("%-20s %-14s %-10s ", upstream, kind, state);
    remote_print_safe(more);
    (void)putchar('\n');
}

static void print_breaker(const struct node *b)
{
    const char *cause = remote_text(b, "cause", NULL), *model = remote_text(b, "model", NULL);
    char more[512];

    (void)snprintf(more, sizeof(more), "%s%s%sfor %s s, %s failed%s%s%s",
                   !model     ? ""
                   : model[0] ? "model "
                              : "no model",
                   model ? model : "", model ? ", " : "", remote_text(b, "for_s", "?"),
                   remote_text(b, "failed", "?"),
                   strcmp(remote_text(b, "held", ""), "true") == 0 ? ", held by an operator" : "",
                   cause ? ": " : "", cause ? cause : "");
    print_row(remote_text(b, "upstream", remote_text(b, "tier", "?")), remote_text(b, "kind", "?"),
              remote_text(b, "state", "?"), more);
}

static int show(struct slice json, bool raw)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *tree = remote_tree(&pool, json), *list = tree ? node_find(tree, "breakers") : NULL;
    int status = EXIT_DONE;

    if (!list)
        return EXIT_COULD_NOT;
    for (size_t i = 0; i < list->n; i++) {
        const struct node *b = list->members[i].node;

        if (strcmp(remote_text(b, "state", ""), "closed") != 0)
            status = EXIT_FINDING;
        if (!raw)
            print_breaker(b);
    }
    if (raw)
        (void)fwrite(json.data, 1, json.len, stdout);
    return fflush(stdout) == 0 ? status : EXIT_COULD_NOT;
}

static int call(const struct cli *cli, const struct config *conf, const char *method, const char *path,
                struct slice body)
{
    AUTO(buf_done) struct buf answer = BUF_INIT(0);
    AUTO(remote_done) struct remote remote = {.pool = POOL_INIT};
    int status;

    if (!remote_init(&remote, cli, conf))
        return EXIT_COULD_NOT;
    switch (remote_call(&remote, method, path, body, &answer)) {
    case REMOTE_DONE:
        status = show(buf_slice(&answer), cli_has(cli, "json"));
        return body.data && status == EXIT_FINDING ? EXIT_DONE : status; /* to open one is no finding */
    case REMOTE_UNREACHABLE:
        remote_tell_unreachable(&remote);
        break;
    case REMOTE_REFUSED:
    case REMOTE_FAILED:
        break;
    }
    return EXIT_COULD_NOT;
}

static int command(const struct cli *cli, const struct config *conf)
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
    return r < 0 ? EXIT_COULD_NOT : call(cli, conf, "POST", path.data, buf_slice(&body));
}

static bool is_action(const char *word)
{
    return strcmp(word, "open") == 0 || strcmp(word, "close") == 0 || strcmp(word, "reset") == 0;
}

int cmd_breakers(const struct cli *cli)
{
    struct config *conf = NULL;
    int status;

    if (cli->words_n != 0 && (cli->words_n != 3 || !is_action(cli->words[0]))) {
        (void)fputs("refrain: breakers: expected no words, or: open|close|reset UPSTREAM|TIER KIND\n",
                    stderr);
        return EXIT_COULD_NOT;
    }
    conf = config_for_remote(cli);
    if (!conf)
        return EXIT_COULD_NOT;
    status =
        cli->words_n == 3 ? command(cli, conf) : call(cli, conf, "GET", "/breakers", (struct slice){NULL, 0});
    config_free(conf);
    return status;
}
