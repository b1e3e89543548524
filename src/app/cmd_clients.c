/* clients new: makes a token for a client. Needs no running instance: what it prints is for the
 * configuration. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "option.h"
#include "refrain/base/attr.h"
#include "refrain/base/digest.h"
#include "refrain/base/jout.h"

enum { TOKEN_BYTES = 32, TOKEN_LEN = 4 + (TOKEN_BYTES * 8 + 5) / 6, PRINT_BYTES_MAX = 4096 };

/* "rfr_" and 32 random bytes as base64url (RFC 4648 section 5) without padding: nothing to guess, so a plain
 * SHA-256 of it may lie about, and nothing that a header, a URL or a shell reads otherwise. */
static void make_token(char out[TOKEN_LEN + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t random[TOKEN_BYTES + 1] = {0};
    size_t n = 4;

    random_bytes(random, TOKEN_BYTES);
    memcpy(out, "rfr_", n);
    for (size_t bit = 0; n < TOKEN_LEN; bit += 6) {
        unsigned two = (unsigned)random[bit / 8] << 8 | random[bit / 8 + 1];

        out[n++] = digits[two >> (10 - bit % 8) & 63];
    }
    out[n] = '\0';
}

static int print_json(const char *name, const char *token, const char *sum)
{
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);
    struct jout j = jout_begin(&out);

    jout_object(&j, NULL);
    jout_str(&j, "client", name);
    jout_str(&j, "token", token);
    jout_str(&j, "token_sha256", sum);
    jout_end(&j);
    return cli_print(&out, jout_done(&j) < 0 ? -1 : buf_add_byte(&out, '\n'));
}

static int print_text(const char *name, const char *token, const char *sum)
{
    AUTO(buf_done) struct buf out = BUF_INIT(PRINT_BYTES_MAX);
    int r = buf_addf(&out,
                     "Token of %s, shown this once; it goes where the API key went:\n\n  %s\n\n"
                     "For the configuration, which a SIGHUP reloads:\n\n"
                     "clients:\n  %s:\n    token_sha256: \"%s\"\n",
                     name, token, name, sum);

    return cli_print(&out, r);
}

static int cmd_clients_new(const struct cli *cli)
{
    static const struct option_row name_row = {.type = OPTION_NAME};
    char token[TOKEN_LEN + 1], sum[DIGEST_HEX_LEN + 1];
    const char *name = cli->words_n == 1 ? cli->words[0] : "";
    struct digest digest;

    if (!option_text_ok(&name_row, slice_str(name)) || strcmp(name, "shared") == 0) {
        (void)fputs(
            "refrain: clients new: expected one name, up to 64 letters, digits, dots, underscores and "
            "dashes, and not `shared`\n",
            stderr);
        return EXIT_COULD_NOT;
    }
    make_token(token);
    digest = sha256_of(slice_str(token));
    digest_hex(&digest, sum);
    return cli_has(cli, "json") ? print_json(name, token, sum) : print_text(name, token, sum);
}

static const struct cli_flag flags[] = {
    {"json", NULL, "Print one JSON object.", NULL},
    {NULL, NULL, NULL, NULL},
};
static const struct cli_flag *const lists[] = {flags, NULL};
static const struct cli_example examples[] = {
    {"refrain clients new alice", NULL},
    {"refrain clients new ci --json | jq -r .token > ci.token", NULL},
    {NULL, NULL},
};
const struct command command_clients_new = {
    .name = "clients new",
    .args = "NAME [FLAGS]",
    .help = "Make a token for a client, and what the configuration says of it.",
    .group = GROUP_CONFIG,
    .flags = lists,
    .run = cmd_clients_new,
    .about =
        "The token is random and kept nowhere: a configuration has its SHA-256 alone. Where the client is "
        "there already, put the new sum beside the old one, as a list, until nobody uses the old token any "
        "more.\n",
    .examples = examples,
};
