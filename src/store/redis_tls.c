/*
 * TLS over memory: what comes from the socket is fed in, what is to be sent is taken out, so the socket is
 * one thing for plain and TLS, and nothing here can raise SIGPIPE.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "redis_priv.h"

enum { RECORD_MAX = 16 * 1024 };

/* An SSL_CTX counts its holders itself: every SSL made of it is one. */
static SSL_CTX *ctx_of(struct redis_tls_ctx *ctx)
{
    return (SSL_CTX *)(void *)ctx;
}

struct redis_tls {
    SSL *ssl;
    BIO *in, *out; /* the SSL's */
};

static void take_error(struct redis_detail *detail)
{
    unsigned long e = ERR_get_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    redis_detail_set(detail, slice_str(reason ? reason : "TLS failed"));
    ERR_clear_error();
}

static bool load_authorities(SSL_CTX *ctx, const struct redis_tls_conf *conf)
{
    return conf->ca_file ? SSL_CTX_load_verify_file(ctx, conf->ca_file) == 1
                         : SSL_CTX_set_default_verify_paths(ctx) == 1;
}

static bool load_ours(SSL_CTX *ctx, const struct redis_tls_conf *conf)
{
    if (!conf->cert_file)
        return true;
    return SSL_CTX_use_certificate_chain_file(ctx, conf->cert_file) == 1 &&
           SSL_CTX_use_PrivateKey_file(ctx, conf->key_file ? conf->key_file : conf->cert_file,
                                       SSL_FILETYPE_PEM) == 1 &&
           SSL_CTX_check_private_key(ctx) == 1;
}

int redis_tls_ctx_new(const struct redis_tls_conf *conf, struct redis_tls_ctx **out,
                      struct redis_detail *detail)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    int version = conf->version_min == REDIS_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

    if (!ctx)
        return -ENOMEM;
    ERR_clear_error();
    if (SSL_CTX_set_min_proto_version(ctx, version) != 1 || !load_authorities(ctx, conf) ||
        !load_ours(ctx, conf)) {
        take_error(detail);
        SSL_CTX_free(ctx);
        return -EINVAL;
    }
    SSL_CTX_set_verify(ctx, conf->verify_off ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
    *out = (struct redis_tls_ctx *)(void *)ctx;
    return 0;
}

void redis_tls_ctx_free(struct redis_tls_ctx *ctx)
{
    SSL_CTX_free(ctx_of(ctx));
}

static bool is_address(const char *host)
{
    unsigned char in[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, in) == 1 || inet_pton(AF_INET6, host, in) == 1;
}

/* Whose certificate it must be; a name is also asked for (SNI, RFC 6066 section 3: never an address). */
static bool expect(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 && X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

struct redis_tls *redis_tls_new(struct redis_tls_ctx *ctx, const struct redis_tls_conf *conf,
                                const char *host)
{
    struct redis_tls *t = calloc(1, sizeof(*t));
    const char *name = conf->server_name ? conf->server_name : host;

    if (!t)
        return NULL;
    t->ssl = SSL_new(ctx_of(ctx));
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out || (name && !expect(t->ssl, name))) {
        BIO_free(t->in);
        BIO_free(t->out);
        SSL_free(t->ssl);
        free(t);
        return NULL;
    }
    (void)BIO_set_mem_eof_return(t->in, -1); /* empty is not the end */
    (void)BIO_set_mem_eof_return(t->out, -1);
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_connect_state(t->ssl);
    return t;
}

void redis_tls_free(struct redis_tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    free(t);
}

static int bounded(size_t len)
{
    return len < INT_MAX ? (int)len : INT_MAX;
}

int redis_tls_feed(struct redis_tls *t, struct slice bytes)
{
    return BIO_write(t->in, bytes.data, bounded(bytes.len)) == bounded(bytes.len) ? 0 : -ENOMEM;
}

int redis_tls_shake(struct redis_tls *t, struct redis_detail *detail)
{
    long verified;
    int r;

    ERR_clear_error();
    r = SSL_do_handshake(t->ssl);
    if (r == 1)
        return 0;
    if (SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ)
        return -EAGAIN;
    verified = SSL_get_verify_result(t->ssl);
    if (verified != X509_V_OK && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE)
        redis_detail_set(detail, slice_str(X509_verify_cert_error_string(verified)));
    else
        take_error(detail);
    return -EPROTO;
}

ssize_t redis_tls_read(struct redis_tls *t, char *to, size_t len, struct redis_detail *detail)
{
    int r;

    ERR_clear_error();
    r = SSL_read(t->ssl, to, bounded(len));
    if (r > 0)
        return r;
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        take_error(detail);
        return -EPROTO;
    }
}

ssize_t redis_tls_write(struct redis_tls *t, const char *from, size_t len)
{
    int r;

    ERR_clear_error();
    r = SSL_write(t->ssl, from, len < RECORD_MAX ? (int)len : RECORD_MAX);
    return r > 0 ? r : -EPROTO; /* memory takes it all */
}

size_t redis_tls_out(struct redis_tls *t, char *to, size_t len)
{
    int r = BIO_read(t->out, to, bounded(len));

    return r > 0 ? (size_t)r : 0;
}
