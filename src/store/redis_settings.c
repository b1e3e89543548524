#include <stdlib.h>
#include <string.h>

#include "redis_priv.h"
#include "refrain/store/resp_guard.h"

enum { ELEMENTS_MAX = 1 << 24 }; /* hiredis 0.14 counts them in an int */

static bool copy_text(const char **text)
{
    if (!*text)
        return true;
    *text = strdup(*text);
    return *text != NULL;
}

/* Each is a copy or NULL afterwards, so that what was copied can be freed. */
static bool copy_texts(struct redis_conf *conf)
{
    const char **const texts[] = {&conf->host,          &conf->path,         &conf->tls.ca_file,
                                  &conf->tls.cert_file, &conf->tls.key_file, &conf->tls.server_name,
                                  &conf->username,      &conf->password};
    bool good = true;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        good = copy_text(texts[i]) && good;
    return good;
}

static void fill_in(struct redis_conf *conf)
{
    if (!conf->port)
        conf->port = 6379;
    if (!conf->connect_timeout_ms)
        conf->connect_timeout_ms = 1000;
    if (!conf->timeout_ms)
        conf->timeout_ms = 50;
    if (!conf->bulk_bytes_max)
        conf->bulk_bytes_max = (size_t)64 << 20;
    if (!conf->reply_bytes_max)
        conf->reply_bytes_max = (size_t)128 << 20;
    if (!conf->elements_max)
        conf->elements_max = 65536;
    if (conf->elements_max > ELEMENTS_MAX)
        conf->elements_max = ELEMENTS_MAX;
    if (!conf->depth_max)
        conf->depth_max = 6;
    if (conf->depth_max > RESP_DEPTH_MAX)
        conf->depth_max = RESP_DEPTH_MAX;
    if (!conf->queue_bytes_max)
        conf->queue_bytes_max = (size_t)128 << 20;
    if (!conf->queue_calls_max)
        conf->queue_calls_max = 4096;
}

static void settings_free(struct redis_settings *s)
{
    struct redis_conf *conf = &s->conf;

    if (conf->password)
        explicit_bzero((void *)(uintptr_t)conf->password, strlen(conf->password));
    free((void *)(uintptr_t)conf->host);
    free((void *)(uintptr_t)conf->path);
    free((void *)(uintptr_t)conf->tls.ca_file);
    free((void *)(uintptr_t)conf->tls.cert_file);
    free((void *)(uintptr_t)conf->tls.key_file);
    free((void *)(uintptr_t)conf->tls.server_name);
    free((void *)(uintptr_t)conf->username);
    free((void *)(uintptr_t)conf->password);
    free(s);
}

struct redis_settings *redis_settings_new(const struct redis_conf *conf)
{
    struct redis_settings *s = calloc(1, sizeof(*s));

    if (!s)
        return NULL;
    s->conf = *conf;
    atomic_init(&s->refs, 1);
    if (!copy_texts(&s->conf)) {
        settings_free(s);
        return NULL;
    }
    fill_in(&s->conf);
    return s;
}

struct redis_settings *redis_settings_ref(struct redis_settings *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void redis_settings_unref(struct redis_settings *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        settings_free(s);
}

void redis_detail_set(struct redis_detail *d, struct slice text)
{
    size_t n = text.len < sizeof(d->text) ? text.len : sizeof(d->text) - 1;

    for (size_t i = 0; i < n; i++)
        d->text[i] = text.data[i];
    for (size_t i = 0; i < n; i++)
        if (d->text[i] < ' ' || d->text[i] > '~')
            d->text[i] = '?';
    d->text[n] = '\0';
}
