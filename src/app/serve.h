/*
 * serve - builds the parts, runs them, takes them down in reverse.
 */
#pragma once

struct config;

/** Runs until SIGTERM or SIGINT. Returns the process's exit status: 0 after a clean end, 2 when it could not
 * start. */
int serve_run(const struct config *conf);
