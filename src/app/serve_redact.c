#include <errno.h>
#include <stdlib.h>

#include "refrain/base/log.h"
#include "refrain/wire/redact.h"
#include "serve_priv.h"

/* Patterns in force, and those that were: another thread may be in them yet. */
struct redacting {
    struct redacting *before;
    struct log_redact hook;
    struct redact *patterns;
};

static size_t redact(const void *arg, struct slice text, char *out, size_t cap)
{
    return redact_text(arg, text, out, cap);
}

void serve_redact_begin(struct server *s, const struct config *conf)
{
    struct redacting *new = calloc(1, sizeof(*new));
    char why[REDACT_WHY_BYTES];
    size_t at;
    int r = new && (new->patterns = redact_new()) ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < conf->redact.patterns.n; i++)
        r = redact_add(new->patterns, conf->redact.patterns.at[i], why, &at); /* checked when it was read */
    if (r < 0)
        abort(); /* small allocations; going on would mean to log what must not be */
    new->hook = (struct log_redact){redact, new->patterns};
    new->before = s->redacting;
    s->redacting = new;
    log_set_redact(conf->redact.patterns.n > 0 ? &new->hook : NULL);
}

static bool texts_eq(const struct text_list *a, const struct text_list *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (!slice_eq(a->at[i], b->at[i]))
            return false;
    return a->n == b->n;
}

void serve_redact_renew(struct server *s, const struct config *conf)
{
    if (!texts_eq(&s->conf->redact.patterns, &conf->redact.patterns))
        serve_redact_begin(s, conf);
}

void serve_redact_end(struct server *s)
{
    log_set_redact(NULL);
    while (s->redacting) {
        struct redacting *r = s->redacting;

        s->redacting = r->before;
        redact_free(r->patterns);
        free(r);
    }
}
