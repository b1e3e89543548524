/*
 * list - intrusive doubly linked list. The link lies inside the object, so linking never allocates and an
 * object can leave a list without knowing which. Not locked; the owner of the list says who may touch it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "refrain/base/attr.h"

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

/* True of an empty list, and of a link that is in none. */
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_push_back(struct list *l, struct list *link)
{
    link->prev = l->prev;
    link->next = l;
    l->prev->next = link;
    l->prev = link;
}

static inline void list_push_front(struct list *l, struct list *link)
{
    link->next = l->next;
    link->prev = l;
    l->next->prev = link;
    l->next = link;
}

/* Takes the link out of whatever list it is in; harmless on one that is in none. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

static inline struct list *list_pop_front(struct list *l)
{
    struct list *link = l->next;

    if (link == l)
        return NULL;
    list_remove(link);
    return link;
}

/* Moves everything in @from to the back of @to. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_FOR(it, l) for (struct list *it = (l)->next; it != (l); it = it->next)
/* The loop body may remove @it. */
#define LIST_FOR_SAFE(it, l)                                                                                 \
    for (struct list *it = (l)->next, *it##_next = it->next; it != (l); it = it##_next, it##_next = it->next)
