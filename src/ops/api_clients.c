/* /clients: who may ask, by name, and what they asked. SPEC section 12; docs/clients.md. */
#include "api.h"
#include "api_stats.h"
#include "refrain/http/clients.h"
#include "refrain/http/site.h"

static void write_limit(struct jout *j, const char *name, unsigned limit)
{
    if (limit == 0)
        jout_null(j, name);
    else
        jout_int(j, name, limit);
}

static void write_client(struct metrics *m, struct jout *j, const struct client *client)
{
    struct client_counts counts;
    unsigned running;

    client_counts(client, &counts, &running);
    jout_object(j, NULL);
    jout_text(j, "client", client->conf.name);
    jout_text(j, "scope", client->conf.shared ? SLICE_OF("shared") : client->conf.scope);
    if (client->conf.namespace_.len > 0)
        jout_text(j, "namespace", client->conf.namespace_);
    else
        jout_null(j, "namespace");
    api_write_requests(j, counts.requests, m);
    api_write_hit_rate(j, counts.requests);
    jout_int(j, "limited", (int64_t)(counts.limited_rate + counts.limited_concurrent));
    jout_int(j, "limited_by_rate", (int64_t)counts.limited_rate);
    jout_int(j, "concurrent", running);
    write_limit(j, "max_concurrent", client->conf.max_concurrent);
    write_limit(j, "requests_per_minute", client->conf.requests_per_minute);
    jout_int(j, "tokens_saved_in", (int64_t)counts.tokens_in);
    jout_int(j, "tokens_saved_out", (int64_t)counts.tokens_out);
    if (counts.nanodollars > 0)
        jout_nano(j, "dollars_saved", (int64_t)counts.nanodollars);
    else
        jout_null(j, "dollars_saved");
    jout_end(j);
}

void api_clients_write(const struct admin_parts *parts, struct jout *j)
{
    const struct roster *roster = parts->site(parts->arg)->roster;

    jout_array(j, "clients");
    for (size_t i = 0; roster && i < roster_n(roster); i++)
        write_client(parts->metrics, j, roster_at(roster, i));
    jout_end(j);
}

void api_clients_list(struct api_call *c)
{
    struct jout j = jout_begin(c->out);

    jout_object(&j, NULL);
    api_clients_write(&c->parts, &j);
    jout_end(&j);
    api_done(c, &j);
}
