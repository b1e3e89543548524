/*
 * load - asks one server for chat completions, as an SDK does, and measures: one epoll loop, many keep-alive
 * connections, either as fast as the server answers or at a fixed rate.
 *
 *   load --port N [--connections 32] [--seconds 2] [--rate 0] [--body 1024] [--first 0] [--entries 1]
 * [--in-order]
 *        [--stream] [--credential TEXT]
 *
 * --rate 0 keeps every connection busy. Any other rate is offered whatever the server does: a request waits
 * its turn when no connection is free, and its latency counts from when it was due, so a slow server cannot
 * hide behind fewer questions.
 * --entries N draws each request from N distinct bodies, numbers --first … --first + N - 1; --in-order asks
 * each of them once and ends (which fills a cache).
 *
 * Prints one line of name=value pairs; latencies in microseconds. `idle` is the part of the time that this
 * program did not use its core: near 0 it was the bottleneck, and rates (though not CPU per request) say more
 * of it than of the server. A benchmark's tool: it ends when the server does something unexpected.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    NUMBER_DIGITS = 10,
    ANSWER_BYTES_MAX = 64 << 10,
    EVENTS_MAX = 256,
    /* Latencies are counted in buckets 1/64 wide relative to their size: 64 for each power of two of
       nanoseconds. */
    BUCKETS_PER_POWER = 64,
    POWERS = 40,
};

struct options {
    uint16_t port;
    unsigned connections;
    double seconds, rate;
    size_t body_bytes;
    uint64_t first, entries;
    bool in_order, stream;
    const char *credential;
};

struct request {
    char *bytes;
    size_t len;
    size_t number_at; /* where its number stands */
};

struct conn {
    int fd;
    struct request request;
    size_t sent;
    bool busy;
    int64_t due_ns, first_byte_ns;
    size_t have, head_len, want; /* want: length of the whole answer; 0: chunked, or not known yet */
    char answer[ANSWER_BYTES_MAX];
};

struct histogram {
    uint64_t counts[POWERS * BUCKETS_PER_POWER];
    uint64_t total;
};

struct load {
    struct options opt;
    int epoll_fd;
    struct conn **idle; /* a stack of the connections without a request under way */
    unsigned idle_n;
    int64_t began_ns, ends_ns;
    uint64_t started, done, hits, bytes;
    uint64_t random;
    struct histogram whole, first_byte;
};

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- latencies --- */

static size_t bucket_of(uint64_t ns)
{
    unsigned power = ns < BUCKETS_PER_POWER ? 0 : 63U - (unsigned)__builtin_clzll(ns) - 5;

    if (power >= POWERS)
        return POWERS * BUCKETS_PER_POWER - 1;
    return power == 0
               ? ns
               : (size_t)power * BUCKETS_PER_POWER + (size_t)((ns >> (power - 1)) & (BUCKETS_PER_POWER - 1));
}

static double bucket_ns(size_t bucket)
{
    size_t power = bucket / BUCKETS_PER_POWER, within = bucket % BUCKETS_PER_POWER;

    return power == 0 ? (double)within : (double)((BUCKETS_PER_POWER + within) << (power - 1));
}

static void histogram_add(struct histogram *h, int64_t ns)
{
    h->counts[bucket_of(ns < 0 ? 0 : (uint64_t)ns)]++;
    h->total++;
}

static double histogram_us(const struct histogram *h, double part)
{
    uint64_t wanted = (uint64_t)((double)h->total * part), seen = 0;

    for (size_t i = 0; i < sizeof(h->counts) / sizeof(h->counts[0]); i++) {
        seen += h->counts[i];
        if (seen > wanted)
            return bucket_ns(i) / 1000;
    }
    return 0;
}

/* --- requests --- */

/* What an unmodified SDK sends: fifteen fields, Content-Length included. */
static const char head_format[] = "POST /v1/chat/completions HTTP/1.1\r\n"
                                  "Host: 127.0.0.1:%u\r\n"
                                  "Accept: application/json\r\n"
                                  "Accept-Encoding: gzip, deflate\r\n"
                                  "Connection: keep-alive\r\n"
                                  "Content-Type: application/json\r\n"
                                  "User-Agent: OpenAI/JS 4.77.0\r\n"
                                  "X-Stainless-Lang: js\r\n"
                                  "X-Stainless-Package-Version: 4.77.0\r\n"
                                  "X-Stainless-OS: Linux\r\n"
                                  "X-Stainless-Arch: x64\r\n"
                                  "X-Stainless-Runtime: node\r\n"
                                  "X-Stainless-Runtime-Version: v20.18.1\r\n"
                                  "X-Stainless-Retry-Count: 0\r\n"
                                  "Authorization: Bearer %s\r\n"
                                  "Content-Length: %zu\r\n"
                                  "\r\n";

static const char body_before[] =
    "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"system\",\"content\":"
    "\"You are a helpful assistant.\"},{\"role\":\"user\",\"content\":\"Question ";
static const char body_after[] = "\"}],\"temperature\":0.2,\"max_tokens\":512}";
static const char body_after_stream[] = "\"}],\"temperature\":0.2,\"max_tokens\":512,\"stream\":true}";
static const char body_text[] = ": please sum up the following notes in three short sentences. ";

static struct request request_make(const struct options *opt)
{
    const char *after = opt->stream ? body_after_stream : body_after;
    size_t least = sizeof(body_before) - 1 + NUMBER_DIGITS + strlen(after);
    size_t room = sizeof(head_format) + strlen(opt->credential) + 64 + opt->body_bytes, at;
    struct request r = {.bytes = malloc(room)};

    if (!r.bytes)
        err(1, "malloc");
    if (opt->body_bytes < least)
        errx(2, "--body: at least %zu bytes", least);
    at = (size_t)snprintf(r.bytes, room, head_format, opt->port, opt->credential, opt->body_bytes);
    r.len = at + opt->body_bytes;
    memcpy(r.bytes + at, body_before, sizeof(body_before) - 1);
    at += sizeof(body_before) - 1;
    r.number_at = at;
    at += NUMBER_DIGITS;
    for (size_t i = 0; at < r.len - strlen(after); i++)
        r.bytes[at++] = body_text[i % (sizeof(body_text) - 1)];
    memcpy(r.bytes + at, after, strlen(after));
    return r;
}

static void request_set_number(struct request *r, uint64_t number)
{
    for (size_t i = NUMBER_DIGITS; i-- > 0; number /= 10)
        r->bytes[r->number_at + i] = (char)('0' + number % 10);
}

static uint64_t load_next_number(struct load *load)
{
    const struct options *opt = &load->opt;

    if (opt->in_order)
        return opt->first + load->started;
    if (opt->entries == 1)
        return opt->first;
    load->random ^= load->random << 13; /* xorshift: even enough, and nothing beside a request */
    load->random ^= load->random >> 7;
    load->random ^= load->random << 17;
    return opt->first + load->random % opt->entries;
}

/* --- connections --- */

static void conn_watch(struct load *load, struct conn *c, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(load->epoll_fd, operation, c->fd, &event) < 0)
        err(1, "epoll_ctl");
}

static struct conn *conn_open(struct load *load)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(load->opt.port)};
    struct conn *c = calloc(1, sizeof(*c));

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!c)
        err(1, "calloc");
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        err(1, "connect to port %u", load->opt.port);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    c->request = request_make(&load->opt);
    conn_watch(load, c, EPOLL_CTL_ADD, EPOLLIN);
    return c;
}

static void conn_send(struct load *load, struct conn *c)
{
    ssize_t n =
        send(c->fd, c->request.bytes + c->sent, c->request.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    bool was_partial = c->sent > 0;

    if (n < 0 && errno != EAGAIN)
        err(1, "send");
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent < c->request.len)
        conn_watch(load, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    else if (was_partial)
        conn_watch(load, c, EPOLL_CTL_MOD, EPOLLIN);
}

static void conn_begin(struct load *load, struct conn *c, int64_t due_ns)
{
    request_set_number(&c->request, load_next_number(load));
    load->started++;
    c->busy = true;
    c->due_ns = due_ns;
    c->first_byte_ns = 0;
    c->sent = c->have = c->head_len = c->want = 0;
    conn_send(load, c);
}

static void conn_read_head(struct conn *c)
{
    static const char name[] = "\ncontent-length:";
    const char *end = memmem(c->answer, c->have, "\r\n\r\n", 4);

    if (!end)
        return;
    if (strncmp(c->answer, "HTTP/1.1 200", 12) != 0)
        errx(1, "expected 200, got: %.*s", (int)c->have, c->answer);
    c->head_len = (size_t)(end + 4 - c->answer);
    for (const char *line = c->answer; line && line < end;
         line = memchr(line + 1, '\n', (size_t)(end - line)))
        if (strncasecmp(line, name, sizeof(name) - 1) == 0)
            c->want = c->head_len + strtoul(line + sizeof(name) - 1, NULL, 10);
}

static bool conn_is_whole(const struct conn *c)
{
    if (c->head_len == 0)
        return false;
    if (c->want > 0)
        return c->have >= c->want;
    return c->have >= c->head_len + 5 && memcmp(c->answer + c->have - 5, "0\r\n\r\n", 5) == 0;
}

/* True when this ended a request. */
static bool conn_read(struct load *load, struct conn *c)
{
    ssize_t n = recv(c->fd, c->answer + c->have, sizeof(c->answer) - c->have, MSG_DONTWAIT);
    int64_t now;

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0)
        errx(1, "the server closed a connection after %zu bytes of an answer", c->have);
    c->have += (size_t)n;
    if (c->head_len == 0)
        conn_read_head(c);
    now = now_ns();
    if (c->first_byte_ns == 0 && c->head_len > 0 && c->have > c->head_len)
        c->first_byte_ns = now;
    if (!conn_is_whole(c))
        return false;
    histogram_add(&load->whole, now - c->due_ns);
    histogram_add(&load->first_byte, (c->first_byte_ns ? c->first_byte_ns : now) - c->due_ns);
    load->hits += memmem(c->answer, c->head_len, ": HIT\r\n", 7) != NULL;
    load->bytes += c->have;
    load->done++;
    c->busy = false;
    return true;
}

/* --- the run --- */

static bool load_may_start(const struct load *load, int64_t now)
{
    return load->opt.in_order ? load->started < load->opt.entries : now < load->ends_ns;
}

/* When the next request of a fixed rate is due. */
static int64_t load_next_due(const struct load *load)
{
    return load->began_ns + (int64_t)((double)load->started * 1e9 / load->opt.rate);
}

static void load_start_due(struct load *load)
{
    int64_t now = now_ns(), due;

    while (load->idle_n > 0 && load_may_start(load, now)) {
        due = load->opt.rate > 0 ? load_next_due(load) : now;
        if (due > now)
            break;
        conn_begin(load, load->idle[--load->idle_n], due);
    }
}

static struct timespec load_patience(const struct load *load)
{
    int64_t wait = 100000000;

    if (load->opt.rate > 0 && load->idle_n > 0)
        wait = load_next_due(load) - now_ns();
    return (struct timespec){.tv_nsec = wait < 0 ? 0 : wait > 100000000 ? 100000000 : wait};
}

static void load_run(struct load *load)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec patience;
    struct conn *c;
    int n;

    load->began_ns = now_ns();
    load->ends_ns = load->began_ns + (int64_t)(load->opt.seconds * 1e9);
    while (load->done < load->started || load_may_start(load, now_ns())) {
        load_start_due(load);
        patience = load_patience(load);
        n = epoll_pwait2(load->epoll_fd, events, EVENTS_MAX, &patience, NULL);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_pwait2");
        for (int i = 0; i < n; i++) {
            c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                conn_send(load, c);
            if ((events[i].events & ~(uint32_t)EPOLLOUT) && conn_read(load, c))
                load->idle[load->idle_n++] = c;
        }
    }
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void load_print(const struct load *load, double cpu_s)
{
    double seconds = (double)(now_ns() - load->began_ns) / 1e9;
    double n = load->done ? (double)load->done : 1;

    printf("requests=%llu rate=%.0f hits=%llu answer_bytes=%.0f p50=%.1f p99=%.1f p999=%.1f first_p50=%.1f "
           "first_p99=%.1f idle=%.3f\n",
           (unsigned long long)load->done, (double)load->done / seconds, (unsigned long long)load->hits,
           (double)load->bytes / n, histogram_us(&load->whole, 0.5), histogram_us(&load->whole, 0.99),
           histogram_us(&load->whole, 0.999), histogram_us(&load->first_byte, 0.5),
           histogram_us(&load->first_byte, 0.99), 1 - cpu_s / seconds);
}

static struct options options_read(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {"body", required_argument, NULL, 'b'},
        {"first", required_argument, NULL, 'f'},
        {"entries", required_argument, NULL, 'e'},
        {"in-order", no_argument, NULL, 'o'},
        {"stream", no_argument, NULL, 't'},
        {"credential", required_argument, NULL, 'k'},
        {0},
    };
    struct options opt = {
        .connections = 32, .seconds = 2, .body_bytes = 1024, .entries = 1, .credential = "sk-bench"};

    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'p':
            opt.port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            opt.connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            opt.seconds = strtod(optarg, NULL);
            break;
        case 'r':
            opt.rate = strtod(optarg, NULL);
            break;
        case 'b':
            opt.body_bytes = strtoul(optarg, NULL, 10);
            break;
        case 'f':
            opt.first = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            opt.entries = strtoull(optarg, NULL, 10);
            break;
        case 'o':
            opt.in_order = true;
            break;
        case 't':
            opt.stream = true;
            break;
        case 'k':
            opt.credential = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (opt.port == 0 || opt.connections == 0 || opt.entries == 0)
        errx(2, "--port, and at least one connection and entry");
    return opt;
}

int main(int argc, char **argv)
{
    struct load *load = calloc(1, sizeof(*load));
    double cpu_s;

    if (!load)
        err(1, "calloc");
    load->opt = options_read(argc, argv);
    load->random = 88172645463325252ULL ^ (uint64_t)now_ns();
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->idle = calloc(load->opt.connections, sizeof(*load->idle));
    if (load->epoll_fd < 0 || !load->idle)
        err(1, "no room for the connections");
    for (unsigned i = 0; i < load->opt.connections; i++)
        load->idle[load->idle_n++] = conn_open(load);
    prctl(PR_SET_TIMERSLACK, 1UL); /* the usual 50 us would blur every due time of a fixed rate */
    cpu_s = cpu_seconds();
    load_run(load);
    load_print(load, cpu_seconds() - cpu_s);
    return 0;
}
