#include "refrain/base/tls.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "refrain/base/attr.h"
#include "refrain/base/digest.h"

enum { CHAIN_MAX = 16, PLAIN_DRAIN_BYTES = 64 * 1024 };

/*
 * Forward secrecy and ciphers that authenticate, nothing else: ECDHE with AES-GCM or ChaCha20-Poly1305. The
 * client chooses among them, since it knows whether it has AES in hardware.
 */
#define SUITES "-RSA:-DHE-RSA:-AES-128-CBC:-AES-256-CBC:-AES-128-CCM:-AES-256-CCM:-SHA1"

static const char *const priorities[] = {
    [TLS_1_2] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:" SUITES,
    [TLS_1_3] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:" SUITES,
};

struct tls {
    atomic_uint refs;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    gnutls_datum_t ticket_key; /* of resumed sessions; GnuTLS derives one from it that changes by itself */
    int64_t expires_s;         /* of the first in the chain that does */
    bool asks_client;
    gnutls_typed_vdata_st client_purpose; /* what a client's certificate has to be for */
};

/* -- reading files -- */

static void datum_done(gnutls_datum_t *d)
{
    if (d->data)
        gnutls_memset(d->data, 0, d->size); /* it may have been a key */
    gnutls_free(d->data);
    d->data = NULL;
}

struct chain {
    gnutls_x509_crt_t *at;
    unsigned n;
};

static void chain_done(struct chain *c)
{
    for (unsigned i = 0; i < c->n; i++)
        gnutls_x509_crt_deinit(c->at[i]);
    gnutls_free(c->at);
}

static int fail(struct tls_fault *fault, int where, const char *fmt, ...) ATTR_PRINTF(3, 4);
static int fail(struct tls_fault *fault, int where, const char *fmt, ...)
{
    va_list args;

    fault->where = where;
    va_start(args, fmt);
    (void)vsnprintf(fault->why, sizeof(fault->why), fmt, args);
    va_end(args);
    return -EINVAL;
}

static int file_load(const char *file, int where, gnutls_datum_t *out, struct tls_fault *fault)
{
    struct stat st;

    if (stat(file, &st) < 0 || (S_ISDIR(st.st_mode) && (errno = EISDIR)))
        return fail(fault, where, "%s: %s", file, strerror(errno));
    if (gnutls_load_file(file, out) < 0)
        return fail(fault, where, "%s cannot be read: %s", file, strerror(errno));
    return 0;
}

static int chain_load(const char *file, struct chain *out, struct tls_fault *fault)
{
    AUTO(datum_done) gnutls_datum_t text = {NULL, 0};
    int r = file_load(file, TLS_CERT, &text, fault);

    if (r < 0)
        return r;
    r = gnutls_x509_crt_list_import2(&out->at, &out->n, &text, GNUTLS_X509_FMT_PEM,
                                     GNUTLS_X509_CRT_LIST_SORT);
    if (r < 0)
        return fail(fault, TLS_CERT, "%s holds no certificate in PEM form: %s", file, gnutls_strerror(r));
    if (out->n > CHAIN_MAX)
        return fail(fault, TLS_CERT, "%s holds %u certificates, more than %d", file, out->n, CHAIN_MAX);
    return 0;
}

static bool holds(const gnutls_datum_t *text, const char *what)
{
    return memmem(text->data, text->size, what, strlen(what)) != NULL;
}

static int key_load(const char *file, gnutls_x509_privkey_t key, struct tls_fault *fault)
{
    AUTO(datum_done) gnutls_datum_t text = {NULL, 0};
    int r = file_load(file, TLS_KEY, &text, fault);

    if (r < 0)
        return r;
    if (holds(&text, "ENCRYPTED"))
        return fail(fault, TLS_KEY,
                    "%s is locked with a passphrase, which nobody could type at a restart; "
                    "`openssl pkey -in %s -out FILE` writes the key without one (mode 0600)",
                    file, file);
    r = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN);
    if (r < 0)
        return fail(fault, TLS_KEY, "%s holds no key in PEM form: %s", file, gnutls_strerror(r));
    return 0;
}

/* -- judging them -- */

static void day_print(time_t at, char out[32])
{
    struct tm tm;

    (void)strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &tm));
}

static int chain_judge(const char *file, const struct chain *chain, int64_t now_s, int64_t *out_expires_s,
                       struct tls_fault *fault)
{
    *out_expires_s = INT64_MAX;
    for (unsigned i = 0; i < chain->n; i++) {
        time_t from = gnutls_x509_crt_get_activation_time(chain->at[i]);
        time_t until = gnutls_x509_crt_get_expiration_time(chain->at[i]);
        char day[32];

        day_print(until < now_s ? until : from, day);
        if (until < now_s)
            return fail(fault, TLS_CERT, "%s: certificate %u of %u expired on %s", file, i + 1, chain->n,
                        day);
        if (from > now_s)
            return fail(fault, TLS_CERT, "%s: certificate %u of %u is not valid before %s", file, i + 1,
                        chain->n, day);
        if (until < *out_expires_s)
            *out_expires_s = until;
    }
    return 0;
}

static bool is_exposed(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 && (st.st_mode & S_IROTH);
}

/* -- making and ending -- */

static struct tls *tls_new(enum tls_version version_min)
{
    struct tls *t = calloc(1, sizeof(*t));

    if (!t)
        return NULL;
    atomic_init(&t->refs, 1);
    if (gnutls_certificate_allocate_credentials(&t->credentials) < 0 ||
        gnutls_priority_init(&t->priority, priorities[version_min], NULL) < 0 ||
        gnutls_session_ticket_key_generate(&t->ticket_key) < 0) {
        tls_unref(t);
        return NULL;
    }
    return t;
}

static int pair_take(struct tls *t, const struct tls_conf *conf, int64_t now_s, int64_t *out_expires_s,
                     struct tls_fault *fault)
{
    AUTO(chain_done) struct chain chain = {NULL, 0};
    gnutls_x509_privkey_t key;
    int r = chain_load(conf->cert_file, &chain, fault);

    if (r == 0)
        r = chain_judge(conf->cert_file, &chain, now_s, out_expires_s, fault);
    if (r < 0)
        return r;
    if (gnutls_x509_privkey_init(&key) < 0)
        return -ENOMEM;
    r = key_load(conf->key_file, key, fault);
    if (r == 0) {
        r = gnutls_certificate_set_x509_key(t->credentials, chain.at, (int)chain.n, key); /* copies both */
        if (r == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
            r = fail(fault, TLS_KEY, "%s is not the key of the certificate in %s", conf->key_file,
                     conf->cert_file);
        else if (r < 0)
            r = fail(fault, TLS_CERT, "%s: %s", conf->cert_file, gnutls_strerror(r));
        else
            r = 0;
    }
    gnutls_x509_privkey_deinit(key);
    return r;
}

static int client_ca_take(struct tls *t, const char *file, struct tls_fault *fault)
{
    AUTO(datum_done) gnutls_datum_t text = {NULL, 0};
    int r = file_load(file, TLS_CLIENT_CA, &text, fault);

    if (r < 0)
        return r;
    r = gnutls_certificate_set_x509_trust_mem(t->credentials, &text, GNUTLS_X509_FMT_PEM);
    if (r <= 0)
        return fail(fault, TLS_CLIENT_CA, "%s holds no certificate in PEM form", file);
    t->asks_client = true;
    t->client_purpose = (gnutls_typed_vdata_st){
        .type = GNUTLS_DT_KEY_PURPOSE_OID,
        .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT, /* which is only read */
    };
    return 0;
}

int tls_load(const struct tls_conf *conf, int64_t now_s, struct tls **out, struct tls_found *found,
             struct tls_fault *fault)
{
    struct tls *t = tls_new(conf->version_min);
    struct tls_fault unasked;
    int r;

    if (!fault)
        fault = &unasked;
    if (!t)
        return -ENOMEM;
    r = pair_take(t, conf, now_s, &t->expires_s, fault);
    if (r == 0 && conf->client_ca_file)
        r = client_ca_take(t, conf->client_ca_file, fault);
    if (r < 0) {
        tls_unref(t);
        return r;
    }
    if (found)
        *found = (struct tls_found){t->expires_s, is_exposed(conf->key_file)};
    *out = t;
    return 0;
}

int64_t tls_expires_s(const struct tls *t)
{
    return t->expires_s;
}

struct tls *tls_ref(struct tls *t)
{
    if (t)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void tls_unref(struct tls *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (t->credentials)
        gnutls_certificate_free_credentials(t->credentials);
    if (t->priority)
        gnutls_priority_deinit(t->priority);
    datum_done(&t->ticket_key);
    free(t);
}

/* -- who is asked -- */

static int pin_of(gnutls_x509_crt_t crt, char out[TLS_PIN_BYTES])
{
    AUTO(datum_done) gnutls_datum_t der = {NULL, 0};
    AUTO(datum_done) gnutls_datum_t text = {NULL, 0};
    gnutls_pubkey_t key;
    struct digest sum;
    int r;

    if (gnutls_pubkey_init(&key) < 0)
        return -EINVAL;
    r = gnutls_pubkey_import_x509(key, crt, 0);
    if (r == 0)
        r = gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der);
    gnutls_pubkey_deinit(key);
    if (r < 0)
        return -EINVAL;
    sum = sha256_of(slice_make((const char *)der.data, der.size));
    if (gnutls_base64_encode2(&(gnutls_datum_t){sum.bytes, sizeof(sum.bytes)}, &text) < 0)
        return -EINVAL;
    (void)snprintf(out, TLS_PIN_BYTES, "sha256//%.*s", (int)text.size, (const char *)text.data);
    return 0;
}

int tls_pin(const char *cert_file, char out[TLS_PIN_BYTES])
{
    AUTO(chain_done) struct chain chain = {NULL, 0};
    struct tls_fault fault;
    int r = chain_load(cert_file, &chain, &fault);

    return r < 0 ? r : pin_of(chain.at[0], out);
}

/* -- a connection -- */

/* What has come is taken first: bytes left unread turn the close into a reset, and the answer is lost. */
static void refuse_plain(struct tls_conn *c)
{
    char bytes[4096];
    size_t taken = 0;
    ssize_t n;

    while (taken < PLAIN_DRAIN_BYTES && (n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
        taken += (size_t)n;
    c->on_plain(c->fd);
}

/* A handshake begins with 0x16, HTTP with a method's name. */
static bool is_plain(unsigned char first)
{
    return first >= 'A' && first <= 'Z';
}

static ssize_t on_pull(gnutls_transport_ptr_t ptr, void *to, size_t n)
{
    struct tls_conn *c = ptr;
    ssize_t got = recv(c->fd, to, n, 0);

    if (c->up || got <= 0)
        return got;
    if (!c->spoke && is_plain(*(unsigned char *)to)) {
        refuse_plain(c);
        return 0;
    }
    c->spoke = true;
    c->handshake_bytes += (uint64_t)got;
    return got;
}

/* GnuTLS asks in some of its waits whether there is something to pull. */
static int on_pull_wait(gnutls_transport_ptr_t ptr, unsigned ms)
{
    const struct tls_conn *c = ptr;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    return poll(&p, 1, ms == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)ms);
}

/* The client's Finished is what the server comes to last, in every kind of handshake but a full one of
 * TLS 1.2, whose rest is the server's to send. */
static int on_finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                       const gnutls_datum_t *msg)
{
    gnutls_transport_ptr_t receiver, sender;
    struct tls_conn *c;

    (void)type;
    (void)when;
    (void)msg;
    gnutls_transport_get_ptr2(session, &receiver, &sender);
    c = receiver;
    if (incoming)
        c->up = true;
    return 0;
}

int tls_conn_begin(struct tls_conn *c, struct tls *t, void *session, int fd, void (*on_plain)(int fd))
{
    gnutls_session_t s = session;

    *c = (struct tls_conn){.tls = tls_ref(t), .session = session, .fd = fd, .on_plain = on_plain};
    /* In place of what libmicrohttpd has set: its own cannot be exchanged while it runs. */
    if (gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, t->credentials) < 0 ||
        gnutls_priority_set(s, t->priority) < 0 || gnutls_session_ticket_enable_server(s, &t->ticket_key) < 0)
        return -EINVAL;
    if (t->asks_client) {
        gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
        /* RFC 5280 section 4.2.1.12: an authority that signs servers, too, has not let each of them in. */
        gnutls_session_set_verify_cert2(s, &t->client_purpose, 1, 0);
    }
    gnutls_transport_set_ptr2(s, c, (gnutls_transport_ptr_t)(intptr_t)fd);
    gnutls_transport_set_pull_function(s, on_pull);
    gnutls_transport_set_pull_timeout_function(s, on_pull_wait);
    gnutls_handshake_set_hook_function(s, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST, on_finished);
    return 0;
}

void tls_conn_end(struct tls_conn *c)
{
    tls_unref(c->tls);
    c->tls = NULL;
    c->session = NULL;
}

void tls_conn_send(const struct tls_conn *c, const void *bytes, size_t n)
{
    (void)gnutls_record_send(c->session, bytes, n);
}
