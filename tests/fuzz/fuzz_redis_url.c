/*
 * redis_url: what is read says the same when it is written down again, with everything percent-encoded that
 * may be, and what is wrong with the rest is told.
 */
#include "holds.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/store/redis_url.h"

static void add_encoded(struct buf *out, const char *text)
{
    for (; *text; text++)
        HOLDS(buf_addf(out, "%%%02X", (unsigned char)*text) == 0);
}

static void add_user(struct buf *out, const struct redis_url *u)
{
    add_encoded(out, u->username);
    if (u->has_password) {
        HOLDS(buf_add_byte(out, ':') == 0);
        add_encoded(out, u->password);
    }
    HOLDS(buf_add_byte(out, '@') == 0);
}

static void write_down(const struct redis_url *u, struct buf *out)
{
    HOLDS(buf_addf(out, "%s://", u->path[0] ? "unix" : u->tls ? "rediss" : "redis") == 0);
    if (u->has_username || u->has_password)
        add_user(out, u);
    if (u->path[0]) {
        HOLDS(u->path[0] == '/' && buf_add_byte(out, '/') == 0);
        add_encoded(out, u->path + 1);
    } else {
        HOLDS(buf_addf(out, strchr(u->host, ':') ? "[%s]" : "%s", u->host) == 0);
        if (u->port)
            HOLDS(buf_addf(out, ":%u", u->port) == 0);
    }
    if (u->has_db)
        HOLDS(buf_addf(out, u->path[0] ? "?db=%u" : "/%u", u->db) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    AUTO(buf_done) struct buf text = BUF_INIT(1 << 16);
    struct redis_url u, again;
    const char *what = NULL;

    memset(&u, 0, sizeof(u));
    if (redis_url_parse(slice_make(data, len), &u, &what) < 0) {
        HOLDS(what && what[0]);
        return 0;
    }
    HOLDS(u.path[0] ? !u.host[0] && !u.tls : u.host[0]);
    write_down(&u, &text);
    memset(&again, 0, sizeof(again));
    HOLDS(redis_url_parse(buf_slice(&text), &again, &what) == 0);
    HOLDS(u.tls == again.tls && u.port == again.port && u.db == again.db && u.has_db == again.has_db &&
          u.has_username == again.has_username && u.has_password == again.has_password &&
          strcmp(u.host, again.host) == 0 && strcmp(u.path, again.path) == 0 &&
          strcmp(u.username, again.username) == 0 && strcmp(u.password, again.password) == 0);
    return 0;
}
