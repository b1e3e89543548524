/*
 * site_build - turns a configuration into the site that requests are served by.
 */
#pragma once
#include "refrain/http/breakers.h"
#include "refrain/http/site.h"

struct config;

/* Parts that outlive every site. */
struct site_parts {
    struct store_mem *memory; /* NULL: off */
    struct store *store;      /* all tiers */
    struct flights *flights;
    struct limits *limits;
    struct proofs *proofs;
    struct fences *fences;
    struct invalidator *invalidator;
    struct breakers *breakers;
    struct recent *recent; /* NULL: off */
    struct slice secret;   /* the server's */
    struct events *events; /* NULL: nobody can listen */
    struct instances *instances;
    struct clients *clients;
};

/** A site with one reference. @conf must outlive it. NULL when out of memory. */
struct site *site_build(const struct config *conf, const struct site_parts *parts);
/** Gives it @conf, which it was built from, to be freed with it: on whatever thread lets go of it last. */
void site_own_config(struct site *s, struct config *conf);
