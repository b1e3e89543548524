#include "remote.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "state.h"

enum {
    ANSWER_BYTES_MAX = 64 << 20,
    TOKEN_BYTES_MAX = 8192,
    CONNECT_TIMEOUT_S = 5,
    TOTAL_TIMEOUT_S = 60,
};

const struct cli_flag remote_flags[] = {
    {"admin", "URL", "Where the instance's admin listener is; by default what the configuration says."},
    {"token-file", "FILE",
     "The API's token; by default the configuration's, or the one made at first start."},
    {NULL, NULL, NULL},
};

/* -- where -- */

/* Who listens on every address is asked on this machine's own. */
static const char *reachable(const struct address *a, const char *written)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->storage;

    if (a->any.sa_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
        return "127.0.0.1";
    if (a->any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        return "[::1]";
    return written;
}

static bool find_address(struct remote *r, const char *text)
{
    struct slice unix_prefix = SLICE_OF("unix:"), whole = slice_str(text);
    const char *colon = strrchr(text, ':');
    struct address a;

    if (slice_starts(whole, SLICE_OF("http://")) || slice_starts(whole, SLICE_OF("https://"))) {
        while (slice_ends(whole, SLICE_OF("/")))
            whole.len--;
        r->url = pool_text(&r->pool, whole);
        return true;
    }
    if (address_parse(whole, &a) < 0) {
        (void)fprintf(stderr, "refrain: --admin %s: expected a URL such as http://127.0.0.1:9180\n", text);
        return false;
    }
    if (slice_starts(whole, unix_prefix)) {
        r->socket = pool_text(&r->pool, slice_skip(whole, unix_prefix.len));
        r->url = pool_text(&r->pool, SLICE_OF("http://localhost"));
        return true;
    }
    r->url = pool_printf(&r->pool, "http://%s%s",
                         reachable(&a, pool_text(&r->pool, slice_make(text, (size_t)(colon - text)))), colon);
    return true;
}

/* -- the token -- */

static struct slice trim_end(struct slice text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]))
        text.len--;
    return text;
}

static bool token_from_file(struct remote *r, const char *file)
{
    struct slice text;
    int failed = file_read(&r->pool, file, TOKEN_BYTES_MAX, &text);

    if (failed < 0) {
        (void)fprintf(stderr, "refrain: --token-file %s: %s\n", file, strerror(-failed));
        return false;
    }
    r->token = pool_text(&r->pool, trim_end(text));
    return true;
}

static void token_from_state(struct remote *r, const char *dir)
{
    AUTO(buf_done) struct buf token = BUF_INIT(TOKEN_BYTES_MAX);
    int failed = state_secret_find(dir, STATE_ADMIN_TOKEN, &token);

    if (failed == 0)
        r->token = pool_text(&r->pool, trim_end(buf_slice(&token)));
    else
        r->no_token = pool_printf(&r->pool, "%s/%s: %s", dir, STATE_ADMIN_TOKEN, strerror(-failed));
}

bool remote_init(struct remote *r, const struct cli *cli, const struct config *conf)
{
    const char *admin = cli_value(cli, "admin"), *file = cli_value(cli, "token-file");

    *r = (struct remote){.pool = POOL_INIT, .chosen = admin != NULL};
    if (!find_address(r, admin ? admin : conf->admin.address))
        return false;
    if (file)
        return token_from_file(r, file);
    if (conf->admin.token.text)
        r->token = pool_text(&r->pool, slice_str(conf->admin.token.text));
    else
        token_from_state(r, conf->cache.state_dir);
    return true;
}

void remote_done(struct remote *r)
{
    pool_done(&r->pool);
}

/* -- asking -- */

static size_t on_bytes(char *data, size_t size, size_t n, void *arg)
{
    return buf_add(arg, data, size * n) == 0 ? size * n : 0;
}

static struct curl_slist *headers_of(struct remote *r)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

    if (r->token)
        headers = curl_slist_append(headers, pool_printf(&r->pool, "Authorization: Bearer %s", r->token));
    return curl_slist_append(headers, "Expect:"); /* the body goes at once */
}

static void prepare(CURL *curl, struct remote *r, const char *method, const char *path, struct slice body,
                    struct buf *out)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, pool_printf(&r->pool, "%s/api/v1%s", r->url, path));
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* the token is for no one on the way */
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TOTAL_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    if (r->socket)
        (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, r->socket);
    if (body.data) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
    }
    (void)curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip"); /* stored bodies may be coded */
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static void tell_refusal(const struct remote *r, long status, struct slice json)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    struct node *tree = json.len > 0 && json.data[0] == '{' ? remote_tree(&pool, json) : NULL;
    const char *where = remote_text(tree, "error.where", NULL),
               *expected = remote_text(tree, "error.expected", NULL);

    if (status == 401 && !r->token)
        (void)fprintf(stderr,
                      "refrain: %s wants its token: give --token-file FILE, or run this as the user that "
                      "Refrain runs as (%s)\n",
                      r->url, r->no_token);
    else
        (void)fprintf(stderr, "refrain: %s: %s%s%s%s%s\n", r->url,
                      remote_text(tree, "error.message", "this is not an instance's admin listener"),
                      where && expected ? "; " : "", where && expected ? where : "",
                      expected ? ": expected " : "", expected ? expected : "");
}

static enum remote_verdict verdict_of(struct remote *r, CURL *curl, CURLcode code, struct slice json)
{
    long status = 0;

    if (code == CURLE_COULDNT_CONNECT)
        return REMOTE_UNREACHABLE;
    if (code != CURLE_OK) {
        (void)fprintf(stderr, "refrain: %s: %s\n", r->url, curl_easy_strerror(code));
        return REMOTE_FAILED;
    }
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    r->status = status;
    if (status == 200)
        return REMOTE_DONE;
    tell_refusal(r, status, json);
    return REMOTE_REFUSED;
}

enum remote_verdict remote_call(struct remote *r, const char *method, const char *path, struct slice body,
                                struct buf *out)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = headers_of(r);
    enum remote_verdict verdict = REMOTE_FAILED;
    CURLcode code;

    out->max = ANSWER_BYTES_MAX;
    if (curl && headers) {
        prepare(curl, r, method, path, body, out);
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        code = curl_easy_perform(curl);
        verdict = verdict_of(r, curl, code, buf_slice(out));
    } else {
        (void)fputs("refrain: out of memory\n", stderr);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return verdict;
}

void remote_tell_unreachable(const struct remote *r)
{
    (void)fprintf(stderr,
                  "refrain: nobody answers at %s%s%s: is Refrain running there? --admin URL tells where\n",
                  r->url, r->socket ? " on " : "", r->socket ? r->socket : "");
}

int remote_add_segment(struct buf *path, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    int r = 0;

    for (; r == 0 && *text; text++)
        r = strchr(plain, *text) ? buf_add_byte(path, *text) : buf_addf(path, "%%%02X", (unsigned char)*text);
    return r;
}

/* -- answers -- */

struct node *remote_tree(struct pool *pool, struct slice json)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    struct loading l = {.pool = pool, .report = &report};
    struct slice text = {pool_text(pool, json), json.len}; /* with a NUL behind it */
    struct node *tree = tree_from_json(&l, text, (struct origin){SOURCE_BUILT_IN, "the answer", 0});

    if (!tree)
        (void)fputs("refrain: the answer is not the JSON that was expected\n", stderr);
    return tree;
}

const char *remote_text(const struct node *tree, const char *path, const char *otherwise)
{
    const struct node *n = tree ? node_find(tree, path) : NULL;

    return n && node_is_scalar(n) && n->kind != NODE_NULL ? n->text : otherwise;
}

/* C0, DEL, and C1 in UTF-8. */
void remote_print_safe(const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte == 0xC2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xA0) {
            (void)putchar('?');
            text++;
        } else {
            (void)putchar(byte < 0x20 || byte == 0x7F ? '?' : byte);
        }
    }
}
