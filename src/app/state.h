/*
 * state - what Refrain makes for itself at its first start and keeps in cache.state_dir: secrets, and what it
 * owes (ledger.h). Each is a file of that directory, mode 0600, that another process either finds whole or
 * not at all.
 */
#pragma once
#include "refrain/base/buf.h"
#include "refrain/store/ledger.h"

/* Their names. */
#define STATE_SECRET      "secret"      /* keys the digests of credentials */
#define STATE_ADMIN_TOKEN "admin.token" /* of the API */
#define STATE_LEDGER      "owed"        /* owed.1, owed.2, …: one for each process */

/**
 * Appends the secret @name of @dir to @out, 64 hex digits when it has to be made; with the directories above
 * it, since ~/.local/state is not there on every machine. Errors: negative errno, with *@out_what saying what
 * could not be done.
 */
int state_secret_load(const char *dir, const char *name, struct buf *out, const char **out_what);
/** The same, but makes nothing. -ENOENT: nobody has made it yet. */
int state_secret_find(const char *dir, const char *name, struct buf *out);

/** The ledger of @dir, which is made where it is not there. NULL: as ledger_open. */
struct ledger *state_ledger_open(const char *dir, struct ledger_found *out, int *out_errno);
