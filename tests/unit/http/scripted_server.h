/*
 * scripted_server - a TCP server for tests that does what its script says, byte for byte: a function run in a
 * thread, which accepts, reads requests and sends what it likes. Ordered by gates, never by sleeps. What it
 * read is kept.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "refrain/base/slice.h"

struct server {
    int listener;
    uint16_t port;
    char url[64]; /* http://127.0.0.1:PORT */
    void (*script)(struct server *s);
    void *arg; /* for the script */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t opened;
    unsigned gates;    /* bit per gate */
    char saw[1 << 20]; /* requests, as they came; read it after server_join */
    size_t saw_len;
    unsigned accepted;
};

/** Listens on a free port of 127.0.0.1 and runs @script in a thread. */
void server_start(struct server *s, void (*script)(struct server *s), void *arg);
/** Waits for the script to end, and frees all. */
void server_join(struct server *s);

/** Gates 0 to 31, closed at first. Any thread. A wait of over 20 s aborts the program. */
void server_open_gate(struct server *s, unsigned gate);
void server_wait_gate(struct server *s, unsigned gate);

/* For scripts. Each aborts the program on an error that no script provokes. */
int server_accept(struct server *s);
/** Reads one request, its body too (Content-Length or chunks, kept as sent). False at end of input before its
 * first byte. */
bool server_read_request(struct server *s, int fd);
/** Reads until at least @n more bytes are kept; false at end of input. */
bool server_read(struct server *s, int fd, size_t n);
void server_send(int fd, const char *text);
void server_send_bytes(int fd, struct slice bytes);
/** Waits until the far end closes. */
void server_await_close(int fd);
/** Closes with a reset. */
void server_reset(int fd);
