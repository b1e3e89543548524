/*
 * dashboard - the operator's page on the admin listener: /dashboard, and below it what the page is made of.
 * The files of src/ops/dashboard/ are in the program as they are and gzip-coded (embed.py). They are the same
 * for everybody, so they need no token; all that the page shows it asks the API for, with the token that its
 * reader types in. SPEC section 12, docs/decisions/0027-dashboard.md.
 *
 * Threads: any.
 */
#pragma once
#include <stdbool.h>

#include "refrain/base/slice.h"
#include "refrain/http/front.h"

#define DASHBOARD_PATH "/dashboard"

/** Answers a GET or HEAD of @path, fields classified, where that is the dashboard's, or `/`, which leads
 * there. false: it is neither. From within on_run. */
bool dashboard_answer(struct front_req *r, struct slice path);
