#include <errno.h>
#include <string.h>

#include "listener.h"
#include "refrain/base/log.h"
#include "refrain/base/tls.h"
#include "serve_priv.h"
#include "state.h"

enum { SECRET_FILE_MAX = 8192 };

int serve_secret_load(struct server *s)
{
    const struct cache_conf *conf = &s->conf->cache;
    const char *what = "";
    int r;

    s->secret.max = SECRET_FILE_MAX;
    if (conf->secret.text)
        return buf_add_slice(&s->secret, slice_str(conf->secret.text));
    r = state_secret_load(conf->state_dir, STATE_SECRET, &s->secret, &what);
    if (r < 0)
        serve_complain(what, conf->state_dir, r);
    return r;
}

int serve_keys_load(struct server *s)
{
    const char *text = s->conf->encryption.key.text;
    unsigned line;

    if (!text)
        return 0;
    s->keys = seal_keys_new();
    return s->keys ? seal_keys_read(s->keys, slice_str(text), &line) : -ENOMEM; /* checked when it was read */
}

void serve_keys_renew(struct server *s, const struct config *conf)
{
    const char *text = conf->encryption.key.text;
    unsigned line;
    int r;

    if (!text != !s->keys) {
        log_event(LOG_WARN, "reload_needs_restart", LOG_STR("option", "encryption.key"));
        return;
    }
    r = text ? seal_keys_read(s->keys, slice_str(text), &line) : 0;
    if (r < 0)
        log_event(LOG_ERROR, "encryption_key", LOG_STR("what", "too many keys since the start; restart"),
                  LOG_ERRNO("error", r));
}

int serve_token_load(struct server *s, const struct config *conf)
{
    const char *what = "";
    int r = 0;

    s->admin_token.max = SECRET_FILE_MAX;
    if (conf->admin.token.text) {
        buf_clear(&s->admin_token);
        return buf_add_slice(&s->admin_token, slice_str(conf->admin.token.text));
    }
    if (s->admin_token.len == 0)
        r = state_secret_load(conf->cache.state_dir, STATE_ADMIN_TOKEN, &s->admin_token, &what);
    if (r < 0)
        serve_complain(what, conf->cache.state_dir, r);
    return r;
}

struct admin_access serve_access_of(const struct server *s, const struct config *conf)
{
    struct slice token = buf_slice(&s->admin_token);

    while (token.len > 0 && strchr(" \t\r\n", token.data[token.len - 1]))
        token.len--; /* a newline, where an editor has been at it */
    return (struct admin_access){token, conf->admin.hosts.at, conf->admin.hosts.n, s->admin_tls};
}

/* What a listener shows from now on. One that is plain stays so until the restart, and the other way round;
 * what cannot be read leaves the old. */
static void tls_renew(struct tls **in_force, const struct tls_conf *conf, const char *name)
{
    struct tls *new;

    if (!conf->cert_file != !*in_force) {
        log_event(LOG_WARN, "reload_needs_restart", LOG_STR("option", name));
        return;
    }
    if (listener_secure(conf, name, &new) < 0)
        return; /* told */
    tls_unref(*in_force);
    *in_force = new;
}

void serve_tls_renew(struct server *s, const struct config *conf)
{
    tls_renew(&s->listen_tls, &conf->listen.tls, "listen.tls");
    tls_renew(&s->admin_tls, &conf->admin.tls, "admin.tls");
}
