#include <string.h>

#include "config_priv.h"
#include "refrain/base/digest.h"
#include "refrain/http/clients.h"

/* Who may ask: tokens, and what clients have in common. */

static const char *client_option(struct loading *l, const struct client_section *c, const char *option)
{
    return pool_printf(l->pool, "clients.%s.%s", c->name, option);
}

/* The text is not shown: it may be a token, put where its sum belongs. */
static void judge_tokens(struct loading *l, const struct client_section *c)
{
    const char *name = client_option(l, c, "token_sha256");

    for (size_t i = 0; i < c->token_sha256.n; i++) {
        struct slice hex = c->token_sha256.at[i];

        if (hex.len != DIGEST_HEX_LEN || strspn(hex.data, "0123456789abcdefABCDEF") != hex.len)
            report_error(
                l->report, judge_origin(l, name), name,
                "expected the SHA-256 of a token, 64 hexadecimal digits; `refrain clients new %s` makes "
                "both",
                c->name);
    }
    if (c->token_sha256.n > CLIENT_TOKENS_MAX)
        report_error(l->report, judge_origin(l, name), name, "at most %d, got %zu", CLIENT_TOKENS_MAX,
                     c->token_sha256.n);
    if (c->token_sha256.n == 0 && judge_origin(l, name)->source != SOURCE_BUILT_IN) /* else told already */
        judge_warn(l, name, "an empty list: nobody can be this client");
}

static bool have_a_token_in_common(const struct client_section *a, const struct client_section *b)
{
    for (size_t i = 0; i < a->token_sha256.n; i++)
        for (size_t k = 0; k < b->token_sha256.n; k++)
            if (slice_ieq(a->token_sha256.at[i], b->token_sha256.at[k]))
                return true;
    return false;
}

static void judge_client(struct loading *l, size_t at)
{
    const struct config *conf = l->conf;
    const struct client_section *c = &conf->clients[at];
    const char *scope = client_option(l, c, "scope");

    judge_tokens(l, c);
    if (strcmp(c->name, "shared") == 0)
        judge_fail(l, scope,
                   "no client can be named so: it is what `scope` says of those who share with all");
    for (size_t i = 0; i < at; i++)
        if (have_a_token_in_common(c, &conf->clients[i]))
            report_error(l->report, judge_origin(l, client_option(l, c, "token_sha256")),
                         client_option(l, c, "token_sha256"),
                         "the same token as that of %s: who would it be?", conf->clients[i].name);
    for (size_t i = 0; c->scope && i < conf->clients_n; i++)
        if (i != at && strcmp(c->scope, conf->clients[i].name) == 0)
            report_warning(l->report, judge_origin(l, scope), scope,
                           "%s is a client: what one of the two is answered the other is answered, too",
                           c->scope);
}

void config_judge_clients(struct loading *l)
{
    const struct config *c = l->conf;

    if (c->clients_n > CLIENTS_MAX)
        report_error(l->report, judge_origin(l, client_option(l, &c->clients[CLIENTS_MAX], "scope")),
                     "clients", "at most %d, got %zu", CLIENTS_MAX, c->clients_n);
    for (size_t i = 0; i < c->clients_n && i < CLIENTS_MAX; i++)
        judge_client(l, i);
}
