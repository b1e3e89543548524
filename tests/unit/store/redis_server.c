#include "redis_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 30000, ELECTION_MS = 6000, TICK_MS = 5, ANSWER_BYTES_MAX = 1 << 20, SLOTS = 16384 };

/* With every right, for the test's own questions, over a unix socket in the server's folder. */
#define ADMIN "admin the-tests-own"

#define FOLDER_TEMPLATE "/tmp/refrain-redis-XXXXXX"

struct redis_server {
    struct redis_server_conf conf;
    char folder[sizeof(FOLDER_TEMPLATE)];
    char path[64], admin_path[64], certificates[128], url[128];
    int port;
    pid_t pid; /* 0: not running */
    FILE *admin;
    char id[64]; /* of a node */
};

struct redis_cluster {
    struct redis_server *nodes[REDIS_CLUSTER_NODES];
};

/* -- small things -- */

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One turn of waiting for something that cannot tell of itself; fails the test when it takes too long. */
static void tick(int64_t began_ms, const char *what)
{
    const struct timespec t = {.tv_nsec = TICK_MS * 1000000L};

    if (now_ms() - began_ms > PATIENCE_MS)
        fail_msg("waited too long for %s", what);
    (void)nanosleep(&t, NULL);
}

static char *text_of(const char *format, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, format, args) < 0)
        fail_msg("out of memory");
    return text;
}

static int on_removed(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* -- certificates -- */

static void run_in(const char *folder, const char *command)
{
    char line[1024];

    (void)snprintf(line, sizeof(line), "cd '%s' && %s >>openssl.log 2>&1", folder, command);
    if (system(line) != 0) /* NOLINT(cert-env33-c): the words are ours */
        fail_msg("failed: %s; what it says lies in %s/openssl.log", command, folder);
}

static void make_certificates(const char *folder)
{
#define MAKE_KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
#define MAKE_CA(name)                                                                                        \
    "openssl req -x509 " MAKE_KEY " -days 2 -subj /CN=" name " -keyout " name ".key -out " name ".pem"
#define MAKE_SIGNED(name, extensions)                                                                        \
    "printf '" extensions "' >" name ".ext && openssl req " MAKE_KEY " -subj /CN=" name " -keyout " name     \
    ".key -out " name ".csr && openssl x509 -req -in " name                                                  \
    ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile " name ".ext -out " name ".pem"
    static const char *const commands[] = {
        MAKE_CA("ca"),
        MAKE_CA("stranger"),
        MAKE_SIGNED("server", "subjectAltName=DNS:localhost,DNS:redis.test,IP:127.0.0.1\\n"
                              "extendedKeyUsage=serverAuth,clientAuth\\n"),
        MAKE_SIGNED("client", "extendedKeyUsage=clientAuth\\n"),
    };

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        run_in(folder, commands[i]);
}

/* -- starting and ending -- */

static bool port_is_free(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_free = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    if (fd >= 0)
        (void)close(fd);
    return is_free;
}

/* Below those that the kernel gives away, so that nobody gets it between here and the server's start; a node
 * has another one, 10000 above. */
static int find_port(void)
{
    for (;;) {
        uint16_t random = 0;
        int port;

        assert_int_equal(getentropy(&random, sizeof(random)), 0);
        port = 10100 + random % 11900;
        if (port_is_free(port) && port_is_free(port + 10000))
            return port;
    }
}

static void write_users(const struct redis_server *s)
{
    char name[128];
    FILE *f;

    (void)snprintf(name, sizeof(name), "%s/users.acl", s->folder);
    f = fopen(name, "we");
    assert_non_null(f);
    (void)fputs("user admin on >the-tests-own ~* &* +@all\n", f);
    if (s->conf.user)
        (void)fprintf(f, "user default off\nuser %s on >%s " REDIS_LEAST_RIGHTS "\n", s->conf.user,
                      s->conf.password);
    else if (s->conf.password)
        (void)fprintf(f, "user default on >%s ~* &* +@all\n", s->conf.password);
    assert_int_equal(fclose(f), 0);
}

static void write_conf(const struct redis_server *s)
{
    char name[128];
    FILE *f;

    (void)snprintf(name, sizeof(name), "%s/redis.conf", s->folder);
    f = fopen(name, "we");
    assert_non_null(f);
    (void)fprintf(f,
                  "bind 127.0.0.1\ndir %s\nsave \"\"\nappendonly no\ndaemonize no\nunixsocket %s\n"
                  "aclfile %s/users.acl\nlogfile %s/log\nrepl-diskless-sync-delay 0\n",
                  s->folder, s->conf.unix_socket ? s->path : s->admin_path, s->folder, s->folder);
    if (s->conf.tls)
        (void)fprintf(f,
                      "port 0\ntls-port %d\ntls-cert-file %s/server.pem\ntls-key-file %s/server.key\n"
                      "tls-ca-cert-file %s/ca.pem\ntls-auth-clients yes\n",
                      s->port, s->certificates, s->certificates, s->certificates);
    else
        (void)fprintf(f, "port %d\n", s->port);
    if (s->conf.cluster)
        (void)fprintf(f,
                      "cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 1500\n"
                      "cluster-replica-validity-factor 0\ncluster-allow-replica-migration no\n"
                      "repl-ping-replica-period 1\nmasteruser admin\nmasterauth the-tests-own\n%s",
                      s->conf.tls ? "tls-cluster yes\ntls-replication yes\n" : "");
    assert_int_equal(fclose(f), 0);
}

static void exec_server(const struct redis_server *s, pid_t parent)
{
    char conf[128];
    int null;

    (void)snprintf(conf, sizeof(conf), "%s/redis.conf", s->folder);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it ends with the test, however that ends */
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (getppid() != parent || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
        _exit(126);
    if (getenv("REFRAIN_REDIS_SERVER"))
        (void)execlp(getenv("REFRAIN_REDIS_SERVER"), "redis-server", conf, (char *)NULL);
    (void)execlp("redis-server", "redis-server", conf, (char *)NULL);
    (void)execlp("valkey-server", "valkey-server", conf, (char *)NULL);
    _exit(127);
}

static FILE *connect_admin(const struct redis_server *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", s->conf.unix_socket ? s->path : s->admin_path);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        (void)close(fd);
        return NULL;
    }
    return fdopen(fd, "r+");
}

static void show_log(const struct redis_server *s)
{
    char name[128], line[512];
    FILE *f;

    (void)snprintf(name, sizeof(name), "%s/log", s->folder);
    f = fopen(name, "re");
    while (f && fgets(line, sizeof(line), f))
        print_error("%s", line);
    if (f)
        (void)fclose(f);
}

/* False where the server ended at once: somebody else has just taken the port. */
static bool try_start(struct redis_server *s)
{
    const int64_t began_ms = now_ms();
    const pid_t parent = getpid();
    int status;

    (void)unlink(s->conf.unix_socket ? s->path : s->admin_path);
    write_conf(s);
    s->pid = fork();
    assert_true(s->pid >= 0);
    if (s->pid == 0)
        exec_server(s, parent);
    while (!(s->admin = connect_admin(s))) {
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            if (WEXITSTATUS(status) == 127)
                fail_msg("neither redis-server nor valkey-server is installed: deploy/packages-test.txt");
            return false;
        }
        tick(began_ms, "the server to come up");
    }
    if (!redis_server_says(s, "OK", "AUTH " ADMIN)) {
        show_log(s);
        fail_msg("the server does not let its own test in");
    }
    return true;
}

static void write_url(struct redis_server *s)
{
    if (s->conf.unix_socket)
        (void)snprintf(s->url, sizeof(s->url), "unix:%s", s->path);
    else
        (void)snprintf(s->url, sizeof(s->url), "redis%s://127.0.0.1:%d", s->conf.tls ? "s" : "", s->port);
}

struct redis_server *redis_server_new(const struct redis_server_conf *conf)
{
    struct redis_server *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    if (conf)
        s->conf = *conf;
    (void)snprintf(s->folder, sizeof(s->folder), FOLDER_TEMPLATE);
    assert_non_null(mkdtemp(s->folder));
    (void)snprintf(s->path, sizeof(s->path), "%s/public", s->folder);
    (void)snprintf(s->admin_path, sizeof(s->admin_path), "%s/admin", s->folder);
    (void)snprintf(s->certificates, sizeof(s->certificates), "%s",
                   s->conf.certificates ? s->conf.certificates : s->folder);
    if (s->conf.tls && !s->conf.certificates)
        make_certificates(s->folder);
    write_users(s);
    for (int tries = 0; !s->pid; tries++) {
        if (tries == 20) {
            show_log(s);
            fail_msg("the server does not start");
        }
        s->port = s->conf.unix_socket ? 0 : find_port();
        (void)try_start(s);
    }
    write_url(s);
    return s;
}

static void hang_up(struct redis_server *s)
{
    if (s->admin)
        (void)fclose(s->admin);
    s->admin = NULL;
}

void redis_server_kill(struct redis_server *s)
{
    hang_up(s);
    if (s->pid) {
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

void redis_server_restart(struct redis_server *s)
{
    const int64_t began_ms = now_ms();

    assert_int_equal(s->pid, 0);
    while (!try_start(s))
        tick(began_ms, "the server's port to be free again");
}

void redis_server_free(struct redis_server *s)
{
    if (!s)
        return;
    redis_server_kill(s);
    (void)nftw(s->folder, on_removed, 8, FTW_DEPTH | FTW_PHYS);
    free(s);
}

void redis_server_freeze(struct redis_server *s)
{
    int status;

    assert_int_equal(kill(s->pid, SIGSTOP), 0);
    /* Returns once it stands still. */
    assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
    assert_true(WIFSTOPPED(status));
}

void redis_server_thaw(struct redis_server *s)
{
    assert_int_equal(kill(s->pid, SIGCONT), 0);
}

bool redis_server_is_alive(const struct redis_server *s)
{
    return s->pid != 0;
}

int redis_server_port(const struct redis_server *s)
{
    return s->port;
}

const char *redis_server_url(const struct redis_server *s)
{
    return s->url;
}

const char *redis_server_path(const struct redis_server *s)
{
    return s->path;
}

const char *redis_server_certificates(const struct redis_server *s)
{
    return s->certificates;
}

/* -- asking -- */

/* Appends one answer to @out: text as it is, an array a line an element. */
static void read_answer(FILE *from, FILE *out)
{
    char line[4096];
    long n;

    if (!fgets(line, sizeof(line), from))
        fail_msg("the server closed the connection");
    line[strcspn(line, "\r\n")] = 0;
    n = strtol(line + 1, NULL, 10);
    if (line[0] == '$' && n >= 0) {
        assert_true(n <= ANSWER_BYTES_MAX);
        for (long i = 0; i < n; i++)
            (void)fputc(fgetc(from), out);
        (void)fgetc(from);
        (void)fgetc(from);
    } else if (line[0] == '*') {
        for (long i = 0; i < n; i++) {
            read_answer(from, out);
            (void)fputc('\n', out);
        }
    } else if (line[0] != '$') {
        (void)fputs(line[0] == '-' ? line : line + 1, out); /* an error keeps its sign */
    }
}

static char *ask(struct redis_server *s, char *question)
{
    char *answer = NULL;
    size_t n;
    FILE *out = open_memstream(&answer, &n);

    assert_non_null(out);
    assert_non_null(s->admin);
    (void)fseek(s->admin, 0, SEEK_CUR); /* between reading and writing */
    (void)fprintf(s->admin, "%s\r\n", question);
    (void)fflush(s->admin);
    read_answer(s->admin, out);
    (void)fclose(out);
    free(question);
    return answer;
}

char *redis_server_ask(struct redis_server *s, const char *format, ...)
{
    va_list args;
    char *question;

    va_start(args, format);
    question = text_of(format, args);
    va_end(args);
    return ask(s, question);
}

bool redis_server_says(struct redis_server *s, const char *want, const char *format, ...)
{
    va_list args;
    char *answer;
    bool same;

    va_start(args, format);
    answer = ask(s, text_of(format, args));
    va_end(args);
    same = strcmp(answer, want) == 0;
    free(answer);
    return same;
}

unsigned long redis_server_calls(struct redis_server *s, const char *command)
{
    char *stats = redis_server_ask(s, "INFO commandstats"), name[64];
    const char *at;
    unsigned long calls = 0;

    (void)snprintf(name, sizeof(name), "cmdstat_%s:calls=", command);
    at = strstr(stats, name);
    if (at)
        calls = strtoul(at + strlen(name), NULL, 10);
    free(stats);
    return calls;
}

/* -- clusters -- */

static void add_slots(struct redis_server *node, int first, int last)
{
    char *question = NULL, *answer;
    size_t n;
    FILE *f = open_memstream(&question, &n);

    assert_non_null(f);
    (void)fputs("CLUSTER ADDSLOTS", f);
    for (int slot = first; slot < last; slot++)
        (void)fprintf(f, " %d", slot);
    (void)fclose(f);
    answer = ask(node, question);
    assert_string_equal(answer, "OK");
    free(answer);
}

static bool knows_all(struct redis_server *node)
{
    char *rows = redis_server_ask(node, "CLUSTER NODES");
    int n = 0;

    for (const char *at = rows; *at; at++)
        n += *at == '\n';
    if (strstr(rows, "handshake"))
        n = 0;
    free(rows);
    return n == REDIS_CLUSTER_NODES;
}

static bool is_master(struct redis_server *node)
{
    char *role = redis_server_ask(node, "ROLE");
    const bool yes = strncmp(role, "master", 6) == 0;

    free(role);
    return yes;
}

/* A master, or a replica at its master's heels. */
static bool is_in_place(struct redis_server *node)
{
    char *role = redis_server_ask(node, "ROLE"), *state = redis_server_ask(node, "CLUSTER INFO");
    const bool yes = (strncmp(role, "master", 6) == 0 || strstr(role, "\nconnected\n")) &&
                     strstr(state, "cluster_state:ok");

    free(role);
    free(state);
    return yes;
}

/* Who serves what, as @node sees it: sorted lines of CLUSTER NODES, what changes all the time left out. */
static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *view_of(struct redis_server *node)
{
    char *rows = redis_server_ask(node, "CLUSTER NODES"), *view = NULL, *save = NULL;
    char *lines[2 * REDIS_CLUSTER_NODES];
    size_t n, lines_n = 0;
    FILE *f = open_memstream(&view, &n);

    assert_non_null(f);
    for (char *line = strtok_r(rows, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (lines_n < sizeof(lines) / sizeof(lines[0]) && strstr(line, "master"))
            lines[lines_n++] = line;
    qsort(lines, lines_n, sizeof(lines[0]), by_text);
    for (size_t i = 0; i < lines_n; i++) {
        const char *slots =
            strstr(lines[i], "connected"); /* the word before the slots, `disconnected`, too */

        if (slots && strchr(slots, ' '))
            (void)fprintf(f, "%.40s%s\n", lines[i], strchr(slots, ' '));
    }
    (void)fclose(f);
    free(rows);
    return view;
}

static bool is_of_one_mind(struct redis_cluster *c)
{
    char *first = NULL;
    bool same = true;

    for (int i = 0; same && i < REDIS_CLUSTER_NODES; i++) {
        char *view;

        if (!redis_server_is_alive(c->nodes[i]))
            continue;
        view = view_of(c->nodes[i]);
        same = is_in_place(c->nodes[i]) && (!first || strcmp(first, view) == 0);
        if (first)
            free(view);
        else
            first = view;
    }
    free(first);
    return same;
}

void redis_cluster_settle(struct redis_cluster *c)
{
    const int64_t began_ms = now_ms();

    while (!is_of_one_mind(c))
        tick(began_ms, "the cluster to be of one mind");
}

static void join(struct redis_cluster *c)
{
    const int masters = REDIS_CLUSTER_NODES / 2;
    const int64_t began_ms = now_ms();

    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        char *id = redis_server_ask(c->nodes[i], "CLUSTER MYID");

        (void)snprintf(c->nodes[i]->id, sizeof(c->nodes[i]->id), "%s", id);
        free(id);
        assert_true(redis_server_says(c->nodes[i], "OK", "CLUSTER SET-CONFIG-EPOCH %d", i + 1));
    }
    for (int i = 0; i < masters; i++)
        add_slots(c->nodes[i], SLOTS * i / masters, SLOTS * (i + 1) / masters);
    for (int i = 1; i < REDIS_CLUSTER_NODES; i++)
        assert_true(redis_server_says(c->nodes[0], "OK", "CLUSTER MEET 127.0.0.1 %d", c->nodes[i]->port));
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        while (!knows_all(c->nodes[i]))
            tick(began_ms, "the nodes to know each other");
    for (int i = 0; i < masters; i++)
        assert_true(redis_server_says(c->nodes[masters + i], "OK", "CLUSTER REPLICATE %s", c->nodes[i]->id));
    redis_cluster_settle(c);
}

struct redis_cluster *redis_cluster_new(const struct redis_server_conf *conf)
{
    struct redis_cluster *c = calloc(1, sizeof(*c));
    struct redis_server_conf node = {0};

    assert_non_null(c);
    if (conf)
        node = *conf;
    node.cluster = true;
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        c->nodes[i] = redis_server_new(&node);
        if (node.tls)
            node.certificates = c->nodes[0]->certificates;
    }
    join(c);
    return c;
}

void redis_cluster_free(struct redis_cluster *c)
{
    for (int i = 0; c && i < REDIS_CLUSTER_NODES; i++)
        redis_server_free(c->nodes[i]);
    free(c);
}

struct redis_server *redis_cluster_node(struct redis_cluster *c, int i)
{
    assert_in_range(i, 0, REDIS_CLUSTER_NODES - 1);
    return c->nodes[i];
}

static struct redis_server *any_living(struct redis_cluster *c)
{
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        if (redis_server_is_alive(c->nodes[i]))
            return c->nodes[i];
    fail_msg("no node is alive");
    return NULL;
}

static int slot_of(struct redis_cluster *c, const char *name)
{
    char *text = redis_server_ask(any_living(c), "CLUSTER KEYSLOT %s", name);
    const int slot = atoi(text);

    free(text);
    return slot;
}

/* Whose own row of CLUSTER NODES has @slot. */
static bool serves(struct redis_server *node, int slot)
{
    char *view = redis_server_ask(node, "CLUSTER NODES"), *mine = strstr(view, "myself,master"), *save = NULL;
    bool yes = false;

    if (mine)
        mine[strcspn(mine, "\n")] = 0;
    for (char *word = mine ? strtok_r(mine, " ", &save) : NULL; word; word = strtok_r(NULL, " ", &save)) {
        int first = -1, last = -1;
        const int found = sscanf(word, "%d-%d", &first, &last); /* NOLINT(cert-err34-c): the server's own */

        /* The first seven words are no slots; ranges and single slots come after the state of the link. */
        if (strcmp(word, "connected") == 0)
            yes = false;
        else if (found >= 1 && slot >= first && slot <= (found == 2 ? last : first))
            yes = true;
    }
    free(view);
    return yes;
}

struct redis_server *redis_cluster_master_of(struct redis_cluster *c, const char *name)
{
    const int slot = slot_of(c, name);

    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        if (redis_server_is_alive(c->nodes[i]) && serves(c->nodes[i], slot))
            return c->nodes[i];
    fail_msg("nobody serves slot %d", slot);
    return NULL;
}

static struct redis_server *replica_of(struct redis_cluster *c, const struct redis_server *master)
{
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        char *role, want[64];
        bool yes;

        if (!redis_server_is_alive(c->nodes[i]) || c->nodes[i] == master)
            continue;
        role = redis_server_ask(c->nodes[i], "ROLE");
        (void)snprintf(want, sizeof(want), "slave\n127.0.0.1\n%d\n", master->port);
        yes = strncmp(role, want, strlen(want)) == 0;
        free(role);
        if (yes)
            return c->nodes[i];
    }
    fail_msg("that master has no replica");
    return NULL;
}

static long long offset_of(struct redis_server *node, const char *name)
{
    char *info = redis_server_ask(node, "INFO replication");
    const char *at = strstr(info, name);
    const long long offset = at ? strtoll(at + strlen(name), NULL, 10) : -1;

    free(info);
    return offset;
}

struct redis_server *redis_cluster_kill_master(struct redis_cluster *c, const char *name)
{
    struct redis_server *const master = redis_cluster_master_of(c, name);
    struct redis_server *const replica = replica_of(c, master);
    const long long reached = offset_of(master, "\nmaster_repl_offset:");
    const int64_t began_ms = now_ms();

    while (offset_of(replica, "\nslave_repl_offset:") < reached)
        tick(began_ms, "the replica to have all");
    redis_server_kill(master);
    while (!is_master(replica))
        tick(began_ms, "the replica to stand in");
    redis_cluster_settle(c);
    return replica;
}

void redis_cluster_move_begin(struct redis_cluster *c, const char *name, struct redis_server *target)
{
    struct redis_server *const source = redis_cluster_master_of(c, name);
    const int slot = slot_of(c, name);

    assert_true(redis_server_says(target, "OK", "CLUSTER SETSLOT %d IMPORTING %s", slot, source->id));
    assert_true(redis_server_says(source, "OK", "CLUSTER SETSLOT %d MIGRATING %s", slot, target->id));
}

void redis_cluster_move_key(struct redis_cluster *c, const char *name, struct redis_server *target)
{
    char *answer =
        redis_server_ask(redis_cluster_master_of(c, name),
                         "MIGRATE 127.0.0.1 %d \"\" 0 5000 AUTH2 " ADMIN " KEYS %s", target->port, name);

    assert_string_equal(answer, "OK");
    free(answer);
}

void redis_cluster_move_end(struct redis_cluster *c, const char *name, struct redis_server *target)
{
    struct redis_server *const source = redis_cluster_master_of(c, name);
    const int slot = slot_of(c, name);
    char *names = redis_server_ask(source, "CLUSTER GETKEYSINSLOT %d 1000", slot), *save = NULL;

    for (char *left = strtok_r(names, "\n", &save); left; left = strtok_r(NULL, "\n", &save))
        redis_cluster_move_key(c, left, target);
    free(names);
    assert_true(redis_server_says(target, "OK", "CLUSTER SETSLOT %d NODE %s", slot, target->id));
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        if (redis_server_is_alive(c->nodes[i]) && c->nodes[i] != target && is_master(c->nodes[i]))
            assert_true(redis_server_says(c->nodes[i], "OK", "CLUSTER SETSLOT %d NODE %s", slot, target->id));
}
