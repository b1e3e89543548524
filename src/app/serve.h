/*
 * serve - builds the parts, runs them, takes them down in reverse.
 */
#pragma once

struct config;

/** SIGHUP and SIGUSR1, which end a process that does not look for them, wait from now on until serve_run
 * does: a rotated log is no reason to die during the start. Before the first thread. */
void serve_hold_signals(void);

/** Runs until SIGTERM or SIGINT. Returns the process's exit status: 0 after a clean end, 2 when it could not
 * start. */
int serve_run(const struct config *conf);
