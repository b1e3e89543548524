#include "refrain/store/redis.h"

static const struct {
    const char *text, *advice;
} causes[REDIS_CAUSES] = {
    [REDIS_FINE] = {"connected", ""},
    [REDIS_NOT_YET] = {"not connected yet", ""},
    [REDIS_UNRESOLVED] = {"the host's name cannot be resolved", "check the host in tiers.redis.url"},
    [REDIS_UNREACHABLE] = {"cannot be reached",
                           "check tiers.redis.url, and that the server runs and listens there"},
    [REDIS_CONNECT_LATE] = {"not connected in time",
                            "check host and port, whether the server speaks TLS (rediss://), and "
                            "tiers.redis.connect_timeout"},
    [REDIS_TLS_FILES] = {"TLS files cannot be used", "check tiers.redis.ca_file, cert and key"},
    [REDIS_TLS_REFUSED] = {"TLS failed",
                           "check tiers.redis.ca_file and server_name, whether the server wants a "
                           "certificate of ours (cert, key), and whether that port speaks TLS"},
    [REDIS_NOAUTH] = {"a password is wanted", "set tiers.redis.password_file, and username if it has one"},
    [REDIS_WRONGPASS] = {"username or password is not taken",
                         "check tiers.redis.username and password_file against the server's ACL"},
    [REDIS_NO_DB] = {"no such database",
                     "check the number behind the / of tiers.redis.url: a cluster has 0 only"},
    [REDIS_LOADING] = {"the server is loading its data", ""},
    [REDIS_REFUSING] = {"the server refuses", "see the server's own words"},
    [REDIS_CLOSED] = {"the connection was closed", "if that comes again and again, see the server's log, and "
                                                   "check whether that port speaks TLS (rediss://)"},
    [REDIS_SILENT] = {"the server does not answer", ""},
    [REDIS_CONFUSED] = {"what it sends is not Redis, or too large",
                        "check that host and port are those of a Redis or Valkey server"},
    [REDIS_NO_MEMORY] = {"out of memory", ""},
};

static const char *const why_names[REDIS_WHYS] = {
    [REDIS_REPLIED] = "replied", [REDIS_LATE] = "late", [REDIS_BUSY] = "busy",
    [REDIS_DOWN] = "down",       [REDIS_LOST] = "lost", [REDIS_TOO_LARGE] = "too_large",
};

const char *redis_cause_text(enum redis_cause c)
{
    return causes[c].text;
}

const char *redis_cause_advice(enum redis_cause c)
{
    return causes[c].advice;
}

const char *redis_why_name(enum redis_why w)
{
    return why_names[w];
}

bool redis_reply_is_error(const struct redis_reply *r, const char *code)
{
    struct slice rest, word;

    if (!r || r->type != REDIS_ERROR)
        return false;
    rest = r->text;
    word = slice_cut(&rest, ' ');
    return slice_eq(word, slice_str(code));
}

bool redis_reply_is(const struct redis_reply *r, const char *text)
{
    return r && (r->type == REDIS_STATUS || r->type == REDIS_TEXT) && slice_eq(r->text, slice_str(text));
}

const struct redis_reply *redis_reply_item(const struct redis_reply *r, size_t i, enum redis_type type)
{
    if (!r || r->type != REDIS_ARRAY || i >= r->items_n || r->items[i]->type != type)
        return NULL;
    return r->items[i];
}

struct blob *redis_reply_take(const struct redis_reply *r)
{
    return blob_ref(r->blob);
}
