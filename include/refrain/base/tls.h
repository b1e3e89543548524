/*
 * tls - the server's side of TLS: a certificate and its key, read, judged, and kept for the connections that
 * begin with them. Hides GnuTLS, which libmicrohttpd encrypts with: it owns the sessions, this says what they
 * show, take and ask for. SPEC section 2.
 *
 * A struct tls does not change. A reload makes another one for the connections that come from then on; the
 * old one goes with the last connection that began with it.
 *
 * Threads: a struct tls, any; a struct tls_conn, its connection's.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tls_version { TLS_1_2, TLS_1_3 };

struct tls_conf {
    const char *cert_file; /* PEM: the certificate, and those that lead from it to an authority */
    const char *key_file;  /* PEM, without a passphrase */
    const char
        *client_ca_file; /* PEM: who signs the certificates that clients must show; NULL: none is asked for */
    enum tls_version version_min;
};

/* What is wrong, and with which file. */
struct tls_fault {
    enum { TLS_CERT, TLS_KEY, TLS_CLIENT_CA } where;
    char why[512];
};

struct tls_found {
    int64_t expires_s; /* wall clock: when the first certificate of the chain to expire does */
    bool key_exposed;  /* others than owner and group may read the key's file */
};

struct tls;

/**
 * Reads and judges what @conf names at @now_s (wall clock, seconds): whether it can be read, whether the key
 * is the certificate's, whether each certificate is in its time. @found and @fault may be NULL. Errors:
 * -EINVAL, and @fault says what; -ENOMEM. Ownership: @out is yours, one reference.
 */
int tls_load(const struct tls_conf *conf, int64_t now_s, struct tls **out, struct tls_found *found,
             struct tls_fault *fault);
/** When the first certificate of the chain to expire does; wall clock, seconds. */
int64_t tls_expires_s(const struct tls *t);
/** Both take NULL. */
struct tls *tls_ref(struct tls *t);
void tls_unref(struct tls *t);

enum { TLS_PIN_BYTES = 64 };
/** What curl's CURLOPT_PINNEDPUBLICKEY takes: "sha256//…" of the first certificate's key in @cert_file.
 * Errors: -EINVAL. */
int tls_pin(const char *cert_file, char out[TLS_PIN_BYTES]);

/* One connection, from its first byte. Lies in what its owner keeps of it. */
struct tls_conn {
    struct tls *tls; /* NULL: plain */
    void *session;   /* gnutls_session_t; libmicrohttpd's */
    int fd;
    bool spoke;               /* a byte has come */
    bool up;                  /* the handshake is done */
    uint64_t handshake_bytes; /* received until then */
    void (*on_plain)(int fd); /* the peer speaks HTTP without TLS; it is answered, then the handshake fails */
};

/**
 * Has @session, which nothing was said on yet, handshake with what @t holds. @c stays where it is until
 * tls_conn_end, which comes after the session's end. Errors: -EINVAL: the session is of no use.
 */
int tls_conn_begin(struct tls_conn *c, struct tls *t, void *session, int fd, void (*on_plain)(int fd));
void tls_conn_end(struct tls_conn *c);
/** Sends, as far as that goes without waiting. */
void tls_conn_send(const struct tls_conn *c, const void *bytes, size_t n);
