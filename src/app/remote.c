#include "remote.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "config_priv.h"
#include "progress.h"
#include "refrain/base/address.h"
#include "refrain/base/attr.h"
#include "refrain/base/tls.h"
#include "state.h"
#include "text.h"

enum {
    ANSWER_BYTES_MAX = 64 << 20,
    TOKEN_BYTES_MAX = 8192,
    CONNECT_TIMEOUT_S = 5,
    TOTAL_TIMEOUT_S = 60,
    LONG_TIMEOUT_S = 3600,
    TROUBLE_BYTES_MAX = 4096,
    ANSWER_NODES_MAX = 2000000,
};

const struct cli_flag remote_flags[] = {
    {"admin", "URL", "Where the instance's admin listener is; by default what the configuration says.", NULL},
    {"token-file", "FILE", "The API's token; by default the configuration's, or the one made at first start.",
     NULL},
    {"ca-file", "FILE",
     "Who may vouch for an https:// admin listener, beside the system's authorities (PEM).", NULL},
    {NULL, NULL, NULL, NULL},
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

static bool find_address(struct remote *r, const char *text, const char *scheme)
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
        r->url = pool_printf(&r->pool, "%s://localhost", scheme);
        return true;
    }
    r->url = pool_printf(&r->pool, "%s://%s%s", scheme,
                         reachable(&a, pool_text(&r->pool, slice_make(text, (size_t)(colon - text)))), colon);
    return true;
}

/* The instance whose configuration this is: it is known by its key, whatever name the certificate has and
 * whoever has signed it. */
static void find_pin(struct remote *r, const char *cert_file)
{
    char pin[TLS_PIN_BYTES];

    if (tls_pin(cert_file, pin) == 0)
        r->pin = pool_text(&r->pool, slice_str(pin));
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
    r->token_from = file;
    return true;
}

static void token_from_state(struct remote *r, const char *dir)
{
    AUTO(buf_done) struct buf token = BUF_INIT(TOKEN_BYTES_MAX);
    int failed = state_secret_find(dir, STATE_ADMIN_TOKEN, &token);

    if (failed == 0)
        r->token = pool_text(&r->pool, trim_end(buf_slice(&token)));
    r->token_from = pool_printf(&r->pool, "%s/%s%s%s", dir, STATE_ADMIN_TOKEN, failed < 0 ? ": " : "",
                                failed < 0 ? strerror(-failed) : "");
}

bool remote_init(struct remote *r, const struct cli *cli, const struct config *conf)
{
    const char *admin = cli_value(cli, "admin"), *file = cli_value(cli, "token-file");

    *r = (struct remote){.pool = POOL_INIT, .chosen = admin != NULL, .ca_file = cli_value(cli, "ca-file")};
    if (!find_address(r, admin ? admin : conf->admin.address,
                      !admin && conf->admin.tls.cert_file ? "https" : "http"))
        return false;
    if (!admin && !r->ca_file && conf->admin.tls.cert_file)
        find_pin(r, conf->admin.tls.cert_file);
    if (file)
        return token_from_file(r, file);
    if (!conf->admin.token.text) {
        token_from_state(r, conf->cache.state_dir);
        return true;
    }
    r->token = pool_text(&r->pool, slice_str(conf->admin.token.text));
    r->token_from = "admin.token of the configuration";
    return true;
}

void remote_done(struct remote *r)
{
    curl_easy_cleanup(r->connection);
    r->connection = NULL;
    pool_done(&r->pool);
}

/* -- asking -- */

static size_t on_bytes(char *data, size_t size, size_t n, void *arg)
{
    return buf_add(arg, data, size * n) == 0 ? size * n : 0;
}

static struct curl_slist *headers_of(const struct remote *r)
{
    AUTO(buf_done) struct buf token = BUF_INIT(TOKEN_BYTES_MAX + 64);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

    if (r->token && buf_addf(&token, "Authorization: Bearer %s", r->token) == 0 &&
        buf_add_byte(&token, '\0') == 0)
        headers = curl_slist_append(headers, token.data);
    return curl_slist_append(headers, "Expect:"); /* the body goes at once */
}

static void prepare(CURL *curl, const struct remote *r, const char *path, struct buf *out)
{
    AUTO(buf_done) struct buf url = BUF_INIT(1 << 20);

    out->max = ANSWER_BYTES_MAX;
    if (buf_addf(&url, "%s/api/v1%s", r->url, path) == 0 && buf_add_byte(&url, '\0') == 0)
        (void)curl_easy_setopt(curl, CURLOPT_URL, url.data); /* copies it */
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* the token is for no one on the way */
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TOTAL_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    if (r->socket)
        (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, r->socket);
    if (r->ca_file)
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, r->ca_file);
    if (r->pin) {
        (void)curl_easy_setopt(curl, CURLOPT_PINNEDPUBLICKEY, r->pin);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    (void)curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip"); /* stored bodies may be coded */
}

/* Where it is, as --admin takes it. */
static int add_place(const struct remote *r, struct buf *to)
{
    return r->socket ? buf_addf(to, "unix:%s", r->socket) : buf_addf(to, "%s", r->url);
}

/* The API names what it means of a request; who wrote flags or words has seen no request. */
static const char *without_request(const char *where)
{
    static const char *const parts[] = {"body", "path", "query"};

    for (size_t i = 0; where && i < ARRAY_LEN(parts); i++) {
        size_t len = strlen(parts[i]);

        if (strncmp(where, parts[i], len) == 0 && (where[len] == '.' || !where[len]))
            return where[len] ? where + len + 1 : "";
    }
    return where ? where : "";
}

/* What an error answer of the API says. */
static void add_refusal(struct buf *to, const struct node *tree, long status)
{
    const char *where = without_request(remote_text(tree, "error.where", NULL)),
               *expected = status == 401 ? NULL : remote_text(tree, "error.expected", NULL);
    char clean[1024], line[1024];

    (void)snprintf(line, sizeof(line), "%s%s%s%s%s%s", remote_text(tree, "error.message", ""),
                   expected ? "; " : "", expected ? where : "", expected && where[0] ? ": " : "",
                   expected ? "expected " : "", expected ? expected : "");
    text_clean(line, false, clean, sizeof(clean));
    if (buf_addf(to, "%s", clean) < 0)
        buf_clear(to);
}

/* What to do about an answer that is not the one wanted; NULL: its message says it. */
static const char *advice_on(const struct remote *r, long status, const char *code)
{
    if (status == 401 && !r->token)
        return "give --token-file FILE, or run this as the user that Refrain runs as";
    if (status == 401)
        return "the right one is what admin.token_file names where it runs, or admin.token in its "
               "cache.state_dir";
    if (strcmp(code, "host_not_allowed") == 0)
        return "reach it by its address, or add the name to its admin.hosts";
    return NULL;
}

static void tell_refusal(const struct remote *r, CURL *curl, long status, struct slice json, struct buf *to)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    const struct node *tree = json.len > 0 && json.data[0] == '{' ? remote_tree_quiet(&pool, json) : NULL;
    const char *code = remote_text(tree, "error.code", NULL);
    const char *advice = code ? advice_on(r, status, code) : NULL;
    curl_off_t wait_s = 0;
    int failed = add_place(r, to);

    if (!code) {
        if (failed == 0)
            failed =
                buf_addf(to,
                         ": this is not an instance's admin listener (it answers %ld); --admin wants the "
                         "address of admin.address, 127.0.0.1:9180 by default",
                         status);
    } else {
        if (failed == 0)
            failed = buf_add_slice(to, SLICE_OF(": "));
        add_refusal(to, tree, status);
        if (failed == 0 && status == 401)
            failed = buf_addf(to, " (%s)", r->token_from);
        if (failed == 0 && advice)
            failed = buf_addf(to, "; %s", advice);
        if (failed == 0 && status == 429 &&
            curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &wait_s) == CURLE_OK)
            failed = buf_addf(to, "; try again in %ld s", (long)wait_s);
    }
    if (failed < 0)
        buf_clear(to);
}

static void tell_unreachable(const struct remote *r, struct buf *to)
{
    if (buf_add_slice(to, SLICE_OF("nobody answers at ")) < 0 || add_place(r, to) < 0 ||
        buf_add_slice(to, SLICE_OF(": is Refrain running there? --admin URL tells where")) < 0)
        buf_clear(to);
}

/* What to do about a call that got no answer. */
static const char *advice_without(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return "; it may be stopped or overloaded: look at its log";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "; --admin URL wants a name that is known here, or an address";
    case CURLE_SSL_CONNECT_ERROR:
        return "; without admin.tls it speaks no TLS: then --admin wants http://";
    case CURLE_SSL_CACERT_BADFILE:
        return "; --ca-file FILE wants a PEM file that can be read";
    case CURLE_PEER_FAILED_VERIFICATION:
        return "; --ca-file FILE names who may vouch for it";
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return "; it does not show what admin.tls.cert holds now: reload it, or name with --ca-file FILE who "
               "vouches "
               "for it";
    case CURLE_WRITE_ERROR:
        return "; its answer is larger than 64 MiB";
    default:
        return "";
    }
}

static enum remote_verdict verdict_of(struct remote *r, CURL *curl, CURLcode code, struct slice json,
                                      struct buf *to)
{
    AUTO(buf_done) struct buf unheard = BUF_INIT(4096);

    if (!to)
        to = &unheard;
    if (code == CURLE_COULDNT_CONNECT) {
        tell_unreachable(r, to);
        return REMOTE_UNREACHABLE;
    }
    if (code != CURLE_OK) {
        if (add_place(r, to) < 0 ||
            buf_addf(to, ": %s%s", curl_easy_strerror(code), advice_without(code)) < 0)
            buf_clear(to);
        return REMOTE_FAILED;
    }
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
    if (r->status == 200)
        return REMOTE_DONE;
    tell_refusal(r, curl, r->status, json, to);
    return REMOTE_REFUSED;
}

/* Called by curl about once a second, whether anything comes or not. */
static int on_waiting(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct remote *r = arg;

    (void)down_total, (void)down, (void)up_total, (void)up;
    progress_at(r->waiting, 0);
    return 0;
}

static void be_patient(CURL *curl, struct remote *r)
{
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)LONG_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_waiting);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, r);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

enum remote_verdict remote_ask(struct remote *r, const char *method, const char *path, struct slice body,
                               struct buf *out, struct buf *trouble)
{
    struct curl_slist *headers = headers_of(r);
    enum remote_verdict verdict;
    CURLcode code = CURLE_OUT_OF_MEMORY;

    r->status = 0;
    if (!r->connection)
        r->connection = curl_easy_init();
    if (r->connection && headers) {
        curl_easy_reset(r->connection);
        prepare(r->connection, r, path, out);
        if (r->waiting)
            be_patient(r->connection, r);
        if (body.data) {
            (void)curl_easy_setopt(r->connection, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
            (void)curl_easy_setopt(r->connection, CURLOPT_POSTFIELDS, body.data);
        }
        (void)curl_easy_setopt(r->connection, CURLOPT_CUSTOMREQUEST, method);
        (void)curl_easy_setopt(r->connection, CURLOPT_HTTPHEADER, headers);
        code = curl_easy_perform(r->connection);
    }
    verdict = verdict_of(r, r->connection, code, buf_slice(out), trouble);
    curl_slist_free_all(headers);
    return verdict;
}

static void print_trouble(const struct buf *trouble)
{
    (void)fprintf(stderr, "refrain: %.*s\n", (int)trouble->len, trouble->data);
}

enum remote_verdict remote_call(struct remote *r, const char *method, const char *path, struct slice body,
                                struct buf *out)
{
    AUTO(buf_done) struct buf trouble = BUF_INIT(TROUBLE_BYTES_MAX);
    enum remote_verdict verdict = remote_ask(r, method, path, body, out, &trouble);

    if (r->waiting)
        progress_pause(r->waiting);
    if (verdict == REMOTE_REFUSED || verdict == REMOTE_FAILED)
        print_trouble(&trouble);
    return verdict;
}

void remote_tell_unreachable(const struct remote *r)
{
    AUTO(buf_done) struct buf trouble = BUF_INIT(TROUBLE_BYTES_MAX);

    tell_unreachable(r, &trouble);
    print_trouble(&trouble);
}

int remote_do(struct remote *r, const char *method, const char *path, struct slice body, struct buf *out)
{
    switch (remote_call(r, method, path, body, out)) {
    case REMOTE_DONE:
        return EXIT_DONE;
    case REMOTE_UNREACHABLE:
        remote_tell_unreachable(r);
        break;
    case REMOTE_REFUSED:
        return r->status == 404 ? EXIT_FINDING : EXIT_COULD_NOT;
    case REMOTE_FAILED:
        break;
    }
    return EXIT_COULD_NOT;
}

int remote_get(struct remote *r, const char *path, struct buf *out)
{
    return remote_do(r, "GET", path, (struct slice){NULL, 0}, out);
}

int remote_get_known(struct remote *r, const char *path, struct buf *out)
{
    int status = remote_get(r, path, out);

    if (status != EXIT_FINDING)
        return status;
    (void)fprintf(stderr, "refrain: it has no %s: that is another version of Refrain, and this is %s\n", path,
                  REFRAIN_VERSION);
    return EXIT_COULD_NOT;
}

int remote_run(const struct cli *cli, int (*run)(const struct cli *cli, struct remote *r))
{
    AUTO(remote_done) struct remote remote = {.pool = POOL_INIT};
    struct config *conf = config_for_remote(cli);
    int status = EXIT_COULD_NOT;

    if (conf && remote_init(&remote, cli, conf))
        status = run(cli, &remote);
    config_free(conf);
    return status;
}

/* -- several at once -- */

bool remote_round_begin(struct remote_round *round, struct remote *r, const char *const *paths, size_t n)
{
    assert(n <= REMOTE_ROUND_MAX);
    *round = (struct remote_round){.remote = r, .n = n, .multi = curl_multi_init(), .headers = headers_of(r)};
    for (size_t i = 0; i < n; i++) {
        round->out[i] = (struct buf)BUF_INIT(ANSWER_BYTES_MAX);
        round->trouble[i] = (struct buf)BUF_INIT(TROUBLE_BYTES_MAX);
        round->verdict[i] = REMOTE_FAILED;
        round->asking[i] = curl_easy_init();
        if (!round->multi || !round->headers || !round->asking[i])
            return false;
        prepare(round->asking[i], r, paths[i], &round->out[i]);
        (void)curl_easy_setopt(round->asking[i], CURLOPT_HTTPHEADER, round->headers);
        if (curl_multi_add_handle(round->multi, round->asking[i]) != CURLM_OK)
            return false;
    }
    return true;
}

/* Judges what has ended. */
static void gather(struct remote_round *round)
{
    struct CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(round->multi, &left)))
        for (size_t i = 0; i < round->n; i++)
            if (message->msg == CURLMSG_DONE && message->easy_handle == round->asking[i]) {
                round->verdict[i] = verdict_of(round->remote, round->asking[i], message->data.result,
                                               buf_slice(&round->out[i]), &round->trouble[i]);
                round->done_n++;
            }
}

bool remote_round_wait(struct remote_round *round, struct pollfd *fds, size_t fds_n, int timeout_ms)
{
    struct curl_waitfd waiting[4] = {0};
    int running;

    assert(fds_n <= ARRAY_LEN(waiting));
    for (size_t i = 0; i < fds_n; i++)
        waiting[i] = (struct curl_waitfd){.fd = fds[i].fd, .events = CURL_WAIT_POLLIN};
    (void)curl_multi_perform(round->multi, &running);
    gather(round);
    if (round->done_n == round->n)
        return true;
    (void)curl_multi_poll(round->multi, waiting, (unsigned)fds_n, timeout_ms, NULL);
    for (size_t i = 0; i < fds_n; i++)
        fds[i].revents = waiting[i].revents ? POLLIN : 0;
    (void)curl_multi_perform(round->multi, &running);
    gather(round);
    return round->done_n == round->n;
}

void remote_round_done(struct remote_round *round)
{
    for (size_t i = 0; i < round->n; i++) {
        if (round->multi && round->asking[i])
            (void)curl_multi_remove_handle(round->multi, round->asking[i]);
        curl_easy_cleanup(round->asking[i]);
        buf_done(&round->out[i]);
        buf_done(&round->trouble[i]);
    }
    (void)curl_multi_cleanup(round->multi);
    curl_slist_free_all(round->headers);
    *round = (struct remote_round){.n = 0};
}

/* -- paths -- */

int remote_add_segment(struct buf *path, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    int r = 0;

    for (; r == 0 && *text; text++)
        r = strchr(plain, *text) ? buf_add_byte(path, *text) : buf_addf(path, "%%%02X", (unsigned char)*text);
    return r;
}

/* -- answers -- */

struct node *remote_tree_quiet(struct pool *pool, struct slice json)
{
    AUTO(config_report_done) struct config_report report = CONFIG_REPORT_INIT;
    struct loading l = {.pool = pool, .report = &report, .nodes_max = ANSWER_NODES_MAX};
    struct slice text = {pool_text(pool, json), json.len}; /* with a NUL behind it */

    return tree_from_json(&l, text, (struct origin){SOURCE_BUILT_IN, "the answer", 0});
}

struct node *remote_tree(struct pool *pool, struct slice json)
{
    struct node *tree = remote_tree_quiet(pool, json);

    if (!tree)
        (void)fputs("refrain: the answer is not the JSON that was expected: is that another program, or "
                    "another version "
                    "of Refrain?\n",
                    stderr);
    return tree;
}

const char *remote_text(const struct node *tree, const char *path, const char *otherwise)
{
    const struct node *n = tree ? node_find(tree, path) : NULL;

    return n && node_is_scalar(n) && n->kind != NODE_NULL ? n->text : otherwise;
}

bool remote_number(const struct node *tree, const char *path, double *out)
{
    const char *text = remote_text(tree, path, "");
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end)
        return false;
    *out = value;
    return true;
}

void remote_print_safe(const char *text)
{
    AUTO(pool_done) struct pool pool = POOL_INIT;
    size_t cap = strlen(text) + 1;
    char *clean = pool_alloc(&pool, cap);

    text_clean(text, false, clean, cap);
    (void)fputs(clean, stdout);
}
