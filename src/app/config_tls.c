#include <errno.h>

#include "config_priv.h"
#include "refrain/base/address.h"
#include "refrain/base/clock.h"
#include "refrain/base/tls.h"

/* TLS of the listeners: the options against each other, and what the files that they name hold. */

enum { DAY_S = 24 * 60 * 60, EXPIRY_WARNING_DAYS = 14 };

static const char *option(struct loading *l, const char *group, const char *name)
{
    return pool_printf(l->pool, "%s.tls.%s", group, name);
}

static void judge_found(struct loading *l, const char *group, const struct tls_conf *c, int64_t now_s,
                        const struct tls_found *found)
{
    const char *cert = option(l, group, "cert"), *key = option(l, group, "key");
    int64_t days = (found->expires_s - now_s) / DAY_S;

    if (days < EXPIRY_WARNING_DAYS)
        report_warning(l->report, judge_origin(l, cert), cert, "%s expires in %d days", c->cert_file,
                       (int)days);
    if (found->key_exposed)
        report_warning(l->report, judge_origin(l, key), key,
                       "every user of this machine can read %s; chmod 600 it", c->key_file);
}

/* What is broken is an error, so that a reload keeps what is in force. */
static void judge_files(struct loading *l, const char *group, const struct tls_conf *c)
{
    static const char *const names[] = {
        [TLS_CERT] = "cert", [TLS_KEY] = "key", [TLS_CLIENT_CA] = "client_ca"};
    int64_t now_s = clock_wall_ms() / 1000;
    struct tls_found found;
    struct tls_fault fault;
    struct tls *t;
    int r = tls_load(c, now_s, &t, &found, &fault);

    if (r == 0) {
        tls_unref(t);
        judge_found(l, group, c, now_s, &found);
    } else if (r == -EINVAL) {
        const char *name = option(l, group, names[fault.where]);

        report_error(l->report, judge_origin(l, name), name, "%s", fault.why);
    }
}

static void judge_listener(struct loading *l, const char *group, const struct tls_conf *c)
{
    const char *cert = option(l, group, "cert"), *key = option(l, group, "key"),
               *client_ca = option(l, group, "client_ca");

    if (!c->cert_file != !c->key_file)
        report_error(l->report, judge_origin(l, c->cert_file ? cert : key), c->cert_file ? key : cert,
                     "must be given, too: a certificate and its key belong together");
    else if (c->client_ca_file && !c->cert_file)
        report_error(l->report, judge_origin(l, client_ca), client_ca,
                     "needs %s and %s: without TLS nobody is asked", cert, key);
    else if (c->cert_file &&
             !l->sources->upstream_optional) /* else the files may be another user's to read */
        judge_files(l, group, c);
}

void config_judge_tls(struct loading *l)
{
    const struct admin_conf *a = &l->conf->admin;
    struct address at;

    judge_listener(l, "listen", &l->conf->listen.tls);
    judge_listener(l, "admin", &a->tls);
    if (a->token.text && !a->tls.cert_file && address_parse(slice_str(a->address), &at) == 0 &&
        !address_is_local(&at))
        report_warning(l->report, judge_origin(l, "admin.address"), "admin.address",
                       "without admin.tls, its token can be read on the way from other machines");
}
