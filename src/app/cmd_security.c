/* security check: what of a configuration, and of the files that it names, lets in or shows more than it
 * needs to. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "config.h"
#include "config_priv.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/base/jout.h"
#include "state.h"
#include "view.h"

enum { PATH_BYTES_MAX = 4096, PRINT_BYTES_MAX = 1 << 20 };

/* Findings as they come: rows of a table, or items of a JSON list. */
struct findings {
    struct table *table; /* NULL: JSON */
    struct jout json;
    size_t n;
};

static void found(struct findings *f, const char *where, const char *what, const char *to_do)
{
    f->n++;
    if (f->table) {
        table_add(f->table, where, TONE_BAD);
        table_add(f->table, what, TONE_PLAIN);
        table_add(f->table, to_do, TONE_PLAIN);
        return;
    }
    jout_object(&f->json, NULL);
    jout_text(&f->json, "where", slice_str(where));
    jout_text(&f->json, "what", slice_str(what));
    jout_text(&f->json, "what_to_do", slice_str(to_do));
    jout_end(&f->json);
}

/* A file or directory that others than its owner may look into; what is not there is no finding. */
static void check_mode(struct findings *f, const char *path, const char *to_do)
{
    char what[64];
    struct stat st;

    if (stat(path, &st) < 0 || (st.st_mode & 077) == 0)
        return;
    (void)snprintf(what, sizeof(what), "mode %04o: others than its owner can use it",
                   (unsigned)(st.st_mode & 07777));
    found(f, path, what, to_do);
}

static void check_state(struct findings *f, const struct config *c)
{
    static const char *const names[] = {STATE_SECRET, STATE_ADMIN_TOKEN};
    char path[PATH_BYTES_MAX];

    check_mode(f, c->cache.state_dir, "chmod 0700");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", c->cache.state_dir, names[i]);
        check_mode(f, path, "chmod 0600, and have it made anew if others may have read it");
    }
}

/* True where the secret of that name is what a file holds. */
static bool lies_in_a_file(const struct config *c, const char *name)
{
    char file[256];

    (void)snprintf(file, sizeof(file), "%s_file", name);
    for (size_t i = 0; i < c->origin->entries_n; i++)
        if (strcmp(c->origin->entries[i].name, file) == 0)
            return c->origin->entries[i].text[0] != '\0';
    return false;
}

/* Files that secrets lie in, and a file of configuration that holds one itself. */
static void check_secrets(struct findings *f, const struct config *c)
{
    for (size_t i = 0; i < c->origin->entries_n; i++) {
        const struct config_entry *e = &c->origin->entries[i];
        bool is_file = slice_ends(slice_str(e->name), SLICE_OF("_file"));

        if (e->row->type != OPTION_SECRET || !e->text[0])
            continue;
        if (is_file)
            check_mode(f, e->text, "chmod 0600");
        else if (lies_in_a_file(c, e->name))
            continue;
        else if (e->origin.source == SOURCE_FILE)
            check_mode(f, e->origin.where,
                       "it holds a secret: chmod 0600, or give that as a file of its own");
        else if (e->origin.source == SOURCE_FLAG)
            found(f, e->name, "given on the command line, which every user of the machine can read",
                  "give it as a file");
    }
}

static void check_listener(struct findings *f, const char *name, const char *text, const struct tls_conf *tls)
{
    struct address address;

    if (address_parse(slice_str(text), &address) < 0 || address_is_local(&address) || tls->cert_file)
        return;
    found(f, name,
          "other machines reach it, without TLS: credentials and answers cross the network as they are",
          "give it tls: {cert, key}, or let only this machine reach it");
}

static void check_upstreams(struct findings *f, const struct config *c)
{
    char name[256];

    for (size_t i = 0; i < c->upstreams_n; i++) {
        if (!config_url_is_exposed(c->upstreams[i].conf.url))
            continue;
        (void)snprintf(name, sizeof(name), "upstreams.%s.url", c->upstreams[i].conf.name);
        found(f, name, "http:// to another machine: prompts and credentials cross the network as they are",
              "https://");
    }
}

static void check_all(struct findings *f, const struct config *c)
{
    check_state(f, c);
    check_secrets(f, c);
    if (c->tiers.disk.path)
        check_mode(f, c->tiers.disk.path, "it holds answers: chmod 0600, or encrypt what is stored");
    check_listener(f, "listen.address", c->listen.address, &c->listen.tls);
    check_listener(f, "admin.address", c->admin.address, &c->admin.tls);
    check_upstreams(f, c);
}

static int print_json(const struct config *c)
{
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);
    struct findings f = {.json = jout_begin(&out)};
    int r;

    jout_object(&f.json, NULL);
    jout_array(&f.json, "findings");
    check_all(&f, c);
    jout_end(&f.json);
    jout_bool(&f.json, "ok", f.n == 0);
    jout_end(&f.json);
    r = jout_done(&f.json);
    r = cli_print(&out, r == 0 ? buf_add_byte(&out, '\n') : r);
    return r == EXIT_DONE && f.n > 0 ? EXIT_FINDING : r;
}

static int print_table(const struct cli *cli, const struct config *c)
{
    static const struct table_column columns[] = {{"where", NULL, .shrinks = true},
                                                  {"what", NULL, .below = true},
                                                  {"what to do", "what_to_do", .below = true}};
    struct findings f = {.n = 0};
    struct term term;

    term_init(&term, cli);
    f.table = table_new(&term, columns, ARRAY_LEN(columns));
    check_all(&f, c);
    if (f.n > 0)
        table_flush(f.table);
    else
        (void)puts("Nothing was found.");
    table_free(f.table);
    return fflush(stdout) != 0 ? EXIT_COULD_NOT : f.n > 0 ? EXIT_FINDING : EXIT_DONE;
}

static int cmd_security_check(const struct cli *cli)
{
    struct config *c = cli->words_n > 0 ? NULL : config_for_remote(cli);
    int status;

    if (cli->words_n > 0)
        return cli_no_words(cli);
    if (!c)
        return EXIT_COULD_NOT;
    status = cli_has(cli, "json") ? print_json(c) : print_table(cli, c);
    config_free(c);
    return status;
}

static const struct cli_flag *const lists[] = {config_flags, output_flags, NULL};
static const struct cli_example examples[] = {
    {"refrain security check --config /etc/refrain/refrain.yaml", NULL},
    {NULL, NULL},
};
const struct command command_security_check = {
    .name = "security check",
    .args = "[FLAGS]",
    .help = "Say what lets in or shows more than it needs to.",
    .group = GROUP_CONFIG,
    .flags = lists,
    .run = cmd_security_check,
    .about = "Looks at modes of the state directory, of secrets and of what is stored, at listeners that "
             "other machines reach "
             "without TLS, and at upstreams without it. Run it as the user that Refrain runs as, on its "
             "machine.\n",
    .finding = "something was found",
    .examples = examples,
};
