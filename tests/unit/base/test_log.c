/* log: lines are whole and well formed whatever is put in, and a sink that is full loses lines instead of
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "refrain/base/attr.h"
#include "refrain/base/log.h"

struct place {
    char dir[32], file[64], text[1 << 20];
    size_t len;
};

static int place_open(void **state)
{
    static struct place p;

    strcpy(p.dir, "/tmp/test_log_XXXXXX");
    if (!mkdtemp(p.dir))
        return -1;
    (void)snprintf(p.file, sizeof(p.file), "%s/log", p.dir);
    *state = &p;
    return 0;
}

static int place_close(void **state)
{
    struct place *p = *state;

    log_close();
    (void)unlink(p->file);
    return rmdir(p->dir);
}

static void start(struct place *p, enum log_format format)
{
    struct log_conf conf = {.format = format, .level = LOG_INFO, .file = p->file};

    assert_int_equal(log_open(&conf), 0);
}

static const char *written(struct place *p)
{
    FILE *f = fopen(p->file, "re");

    assert_non_null(f);
    p->len = fread(p->text, 1, sizeof(p->text) - 1, f);
    p->text[p->len] = '\0';
    (void)fclose(f);
    return p->text;
}

/* The first line without its time, which differs every time; cut off the front, so the next call sees the
 * next line. */
static char *next_line(char **rest)
{
    char *line = *rest, *end = strchr(line, '\n');

    assert_non_null(end);
    *end = '\0';
    *rest = end + 1;
    return line;
}

static void fields_become_json(void **state)
{
    struct place *p = *state;
    char *rest, *line;

    start(p, LOG_JSON);
    log_event(LOG_WARN, "sample", LOG_STR("text", "a \"b\"\n"), LOG_INT("low", INT64_MIN),
              LOG_INT("high", INT64_MAX), LOG_INT("zero", 0), LOG_BOOL("yes", true),
              LOG_DUR("took_ms", 1234567), LOG_DUR("short_ms", 1999), LOG_STR("absent", NULL),
              LOG_SLICE("bytes", SLICE_OF("\xFF\0x")), LOG_ERRNO("why", -ENOENT), LOG_ERRNO("fine", 0));
    log_event(LOG_INFO, "bare");
    log_event(LOG_DEBUG, "not_written", LOG_INT("n", 1));

    rest = (char *)(uintptr_t)written(p);
    line = next_line(&rest);
    assert_memory_equal(line, "{\"time\":\"20", 11);
    assert_string_equal(strchr(line, 'Z'),
                        "Z\",\"level\":\"warn\",\"event\":\"sample\",\"text\":\"a \\\"b\\\"\\n\","
                        "\"low\":-9223372036854775808,\"high\":9223372036854775807,\"zero\":0,"
                        "\"yes\":true,\"took_ms\":1.234,\"short_ms\":0.001,"
                        "\"bytes\":\"\xEF\xBF\xBD\\u0000x\",\"why\":\"No such file or directory\"}");
    line = next_line(&rest);
    assert_string_equal(strchr(line, 'Z'), "Z\",\"level\":\"info\",\"event\":\"bare\"}");
    assert_string_equal(rest, "");
}

static void text_lines_quote_what_needs_it(void **state)
{
    struct place *p = *state;
    char *rest, *line;

    start(p, LOG_TEXT);
    log_event(LOG_ERROR, "sample", LOG_STR("bare", "/v1/x"), LOG_STR("space", "a b"),
              LOG_STR("equals", "a=b"), LOG_STR("none", ""), LOG_STR("control", "a\tb"), LOG_INT("n", -7));
    rest = (char *)(uintptr_t)written(p);
    line = next_line(&rest);
    assert_string_equal(
        strchr(line, 'Z'),
        "Z ERROR sample bare=/v1/x space=\"a b\" equals=\"a=b\" none=\"\" control=\"a\\tb\" n=-7");
}

static void every_byte_is_escaped_wherever_it_stands(void **state)
{
    struct place *p = *state;
    char text[17];

    start(p, LOG_JSON);
    for (int c = 1; c < 256; c++)
        for (size_t at = 0; at < sizeof(text) - 1; at += 5) {
            memset(text, 'x', sizeof(text) - 1);
            text[sizeof(text) - 1] = '\0';
            text[at] = (char)c;
            log_buffered(LOG_INFO, "byte", LOG_STR("text", text));
        }
    log_flush();
    (void)written(p);
    for (size_t i = 0; i < p->len; i++) {
        unsigned char c = (unsigned char)p->text[i];

        if ((c < 0x20 && c != '\n') || c == 0x7F)
            fail_msg("byte 0x%02x stands in the log at %zu", c, i);
    }
    assert_null(strstr(p->text, "x\"x")); /* a quote inside has its backslash */
    assert_non_null(strstr(p->text, "x\\\"x"));
    assert_non_null(strstr(p->text, "x\\\\x"));
}

static void long_text_is_cut_and_an_over_long_line_says_so(void **state)
{
    struct place *p = *state;
    char text[3000], *rest, *line;

    start(p, LOG_JSON);
    memset(text, '\x01', sizeof(text) - 1); /* six bytes each once escaped */
    text[sizeof(text) - 1] = '\0';
    log_event(LOG_INFO, "long", LOG_STR("one", text), LOG_STR("two", text), LOG_INT("after", 5));
    rest = (char *)(uintptr_t)written(p);
    line = next_line(&rest);
    assert_true(strlen(line) < LOG_LINE_BYTES_MAX);
    assert_non_null(strstr(line, "\\u0001...\",\"after\":5,\"truncated\":true}"));
    assert_null(strstr(line, "\"two\""));
}

/* Takes every 's' for a secret; the first pass over a text that fills the room must still end in "...". */
static size_t without_s(const void *arg, struct slice text, char *out, size_t cap)
{
    size_t n = text.len < cap ? text.len : cap;

    for (size_t i = 0; i < n; i++)
        out[i] = text.data[i] == 's' ? *(const char *)arg : text.data[i];
    return n;
}

static void what_is_to_be_kept_out_is_kept_out(void **state)
{
    static const struct log_redact redact = {without_s, "*"};
    static char very_long[3 * LOG_TEXT_BYTES_MAX];
    struct place *p = *state;
    char *rest;

    start(p, LOG_JSON);
    memset(very_long, 's', sizeof(very_long));
    log_set_redact(&redact);
    log_event(LOG_INFO, "stays", LOG_STR("says", "a secret"), LOG_INT("sum", 1),
              LOG_SLICE("long", slice_make(very_long, sizeof(very_long))));
    log_set_redact(NULL);
    log_event(LOG_INFO, "after", LOG_STR("says", "a secret"));
    rest = (char *)written(p);
    assert_non_null(strstr(rest, "\"event\":\"stays\",\"says\":\"a *ecret\",\"sum\":1,\"long\":\"***"));
    assert_non_null(strstr(rest, "***...\"}\n"));
    assert_null(strstr(rest, "sss"));
    assert_non_null(strstr(rest, "\"says\":\"a secret\""));
}

static void buffered_lines_wait_for_a_flush_or_a_full_block(void **state)
{
    struct place *p = *state;
    unsigned lines = 0;

    start(p, LOG_JSON);
    log_buffered(LOG_INFO, "one");
    assert_string_equal(written(p), "");
    log_event(LOG_WARN, "two"); /* takes along what was before it, in order */
    assert_non_null(strstr(written(p), "\"one\""));
    assert_true(strstr(p->text, "\"one\"") < strstr(p->text, "\"two\""));

    while (p->len < LOG_BLOCK_BYTES && lines < 10000) {
        log_buffered(LOG_INFO, "filler", LOG_INT("n", lines));
        lines++;
        (void)written(p);
    }
    assert_in_range(lines, 100, 400);
}

static void a_renamed_file_is_made_anew(void **state)
{
    struct place *p = *state;
    char moved[80];
    struct stat st;

    start(p, LOG_JSON);
    log_event(LOG_INFO, "before");
    (void)snprintf(moved, sizeof(moved), "%s.1", p->file);
    assert_int_equal(rename(p->file, moved), 0);
    log_event(LOG_INFO, "still_the_old");
    assert_int_equal(log_reopen(), 0);
    log_event(LOG_INFO, "after");
    assert_null(strstr(written(p), "before"));
    assert_non_null(strstr(p->text, "after"));
    assert_int_equal(stat(p->file, &st), 0);
    assert_int_equal(st.st_mode & 07777 & ~0640u, 0);
    assert_int_equal(unlink(moved), 0);
}

static void a_file_that_cannot_be_opened_leaves_the_log_as_it_was(void **state)
{
    struct place *p = *state;
    struct log_conf bad = {.file = "/nonexistent/dir/log"};

    start(p, LOG_JSON);
    assert_int_equal(log_open(&bad), -ENOENT);
    log_event(LOG_INFO, "here");
    assert_non_null(strstr(written(p), "\"here\""));
}

/* Its folder is gone, so it cannot be made anew: lines are where somebody sees them, until it can. */
static void a_deleted_file_that_cannot_be_made_anew_leaves_standard_error(void **state)
{
    struct place *p = *state;
    int saved = dup(STDERR_FILENO), ends[2];
    ssize_t n;

    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    start(p, LOG_JSON);
    assert_int_equal(unlink(p->file), 0);
    assert_int_equal(rmdir(p->dir), 0);
    assert_int_equal(log_reopen(), -ENOENT);
    log_event(LOG_INFO, "seen");
    n = read(ends[0], p->text, sizeof(p->text) - 1);
    assert_int_equal(mkdir(p->dir, 0700), 0);
    assert_int_equal(log_reopen(), 0);
    log_event(LOG_INFO, "here again");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);

    assert_true(n > 0);
    p->text[n] = '\0';
    assert_non_null(strstr(p->text, "\"event\":\"seen\""));
    assert_non_null(strstr(written(p), "\"here again\""));
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

static void *write_many(void *arg)
{
    for (int i = 0; i < 2000; i++)
        log_buffered(LOG_INFO, "many", LOG_STR("who", arg), LOG_INT("n", i));
    log_flush();
    return NULL;
}

static void lines_of_several_threads_never_mix(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"aaaa", "bbbb", "cccc", "dddd"};
    pthread_t threads[ARRAY_LEN(names)];
    char *rest, *line;
    int next[ARRAY_LEN(names)] = {0}, n;
    char who;

    start(p, LOG_JSON);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, (void *)(uintptr_t)names[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);

    rest = (char *)(uintptr_t)written(p);
    while (*rest) {
        line = strstr(next_line(&rest), "\"who\"");
        assert_non_null(line);
        assert_int_equal(sscanf(line, "\"who\":\"%c%*3c\",\"n\":%d}", &who, &n), 2);
        assert_int_equal(n, next[who - 'a']++);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(next[i], 2000);
}

/* Standard error becomes a pipe that nobody reads for a while. */
static void a_full_pipe_loses_lines_but_no_time(void **state)
{
    struct log_conf conf = {.format = LOG_JSON, .level = LOG_INFO};
    int saved = dup(STDERR_FILENO), ends[2];
    uint64_t before = log_lines_dropped(), lost;
    struct place *p = *state;
    char *rest, *line, want[64];
    unsigned lines = 0;

    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    assert_int_equal(log_open(&conf), 0);
    for (int i = 0; i < 3000; i++) /* some 300 KB into 64 */
        log_buffered(LOG_INFO, "filler", LOG_INT("n", i),
                     LOG_STR("text", "0123456789012345678901234567890123456789"));
    log_flush();
    lost = log_lines_dropped() - before;
    assert_in_range(lost, 1000, 2999);
    assert_int_equal(log_open(&conf), 0); /* as a reload does: what was cut is finished all the same */

    assert_true(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    p->len = 0;
    for (ssize_t n; (n = read(ends[0], p->text + p->len, sizeof(p->text) - 1 - p->len)) > 0;
         p->len += (size_t)n)
        ;
    log_event(LOG_INFO, "again");
    for (ssize_t n; (n = read(ends[0], p->text + p->len, sizeof(p->text) - 1 - p->len)) > 0;
         p->len += (size_t)n)
        ;
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    p->text[p->len] = '\0';

    (void)snprintf(want, sizeof(want), "\"event\":\"log_lines_dropped\",\"lines\":%llu}",
                   (unsigned long long)lost);
    assert_non_null(strstr(p->text, want));
    rest = p->text;
    while (*rest) {
        line = next_line(&rest);
        assert_memory_equal(line, "{\"time\":\"", 9); /* each whole, the one cut in the middle too */
        assert_int_equal(line[strlen(line) - 1], '}');
        lines++;
    }
    assert_int_equal(lines, 3000 - lost + 2);
    close(saved);
    close(ends[0]);
    close(ends[1]);
}

/* Standard error becomes a terminal whose other end has stalled: the end that nobody reads, to be closed. */
static int stall_terminal(void)
{
    int ours = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), theirs;
    struct termios raw;

    assert_true(ours >= 0 && grantpt(ours) == 0 && unlockpt(ours) == 0);
    theirs = open(ptsname(ours), O_RDWR | O_NOCTTY);
    assert_int_equal(tcgetattr(theirs, &raw), 0);
    cfmakeraw(&raw);
    assert_int_equal(tcsetattr(theirs, TCSANOW, &raw), 0);
    assert_true(dup2(theirs, STDERR_FILENO) >= 0);
    close(theirs);
    return ours;
}

/* A write that waited would do so for ever. */
static void a_stalled_terminal_loses_lines_but_no_time(void **state)
{
    static const struct {
        const char *why;
        bool opened;
    } cases[] = {{"opened once more", true}, {"as it was given", false}};
    struct log_conf conf = {.format = LOG_TEXT, .level = LOG_INFO};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t before = log_lines_dropped();
        int saved = dup(STDERR_FILENO), terminal = stall_terminal();

        if (cases[i].opened)
            assert_int_equal(log_open(&conf), 0);
        for (int n = 0; n < 3000; n++)
            log_buffered(LOG_INFO, "filler", LOG_INT("n", n),
                         LOG_STR("text", "0123456789012345678901234567"));
        log_flush();
        log_close();
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        close(saved);
        close(terminal);
        if (log_lines_dropped() - before < 1000)
            fail_msg("%s: expected lines to be lost, %llu were", cases[i].why,
                     (unsigned long long)(log_lines_dropped() - before));
    }
}

/* Nobody reads it, at first: to open it does not wait for that. */
static void a_named_pipe_is_a_log_once_it_has_a_reader(void **state)
{
    struct place *p = *state;
    struct log_conf conf = {.format = LOG_JSON, .level = LOG_INFO, .file = p->file};
    ssize_t n;
    int reader;

    assert_int_equal(mkfifo(p->file, 0600), 0);
    assert_int_equal(log_open(&conf), -ENXIO);
    reader = open(p->file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(log_open(&conf), 0);
    log_event(LOG_INFO, "heard");
    n = read(reader, p->text, sizeof(p->text) - 1);
    assert_true(n > 0);
    p->text[n] = '\0';
    assert_non_null(strstr(p->text, "\"event\":\"heard\""));
    close(reader);
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_by_name(SLICE_OF("debug")), LOG_DEBUG);
    assert_int_equal(log_level_by_name(SLICE_OF("error")), LOG_ERROR);
    assert_int_equal(log_level_by_name(SLICE_OF("loud")), -1);
}

/* `test_log bench` prints what one request line costs. */
static int bench(void)
{
    struct log_conf conf = {.format = LOG_JSON, .level = LOG_INFO, .file = "/dev/null"};
    const char *texts[] = {"01HZX3K8QW9V7T2N5M4B6C8D0F", "gpt-4o-2024-08-06"};
    enum { ROUNDS = 2000000 };
    struct timespec a, b;

    if (log_open(&conf) < 0)
        return 1;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
    for (int i = 0; i < ROUNDS; i++)
        log_buffered(LOG_INFO, "request", LOG_STR("id", texts[0]), LOG_STR("operation", "chat"),
                     LOG_STR("model", texts[1]), LOG_STR("result", "hit"), LOG_STR("detail", "memory"),
                     LOG_INT("status", 200), LOG_INT("bytes_in", 1024), LOG_INT("bytes_out", 1536 + i),
                     LOG_DUR("duration_ms", 11234 + i));
    log_flush();
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
    printf("%.1f ns a line\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)ROUNDS);
    log_close();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fields_become_json, place_open, place_close),
        cmocka_unit_test_setup_teardown(text_lines_quote_what_needs_it, place_open, place_close),
        cmocka_unit_test_setup_teardown(every_byte_is_escaped_wherever_it_stands, place_open, place_close),
        cmocka_unit_test_setup_teardown(long_text_is_cut_and_an_over_long_line_says_so, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(what_is_to_be_kept_out_is_kept_out, place_open, place_close),
        cmocka_unit_test_setup_teardown(buffered_lines_wait_for_a_flush_or_a_full_block, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(a_renamed_file_is_made_anew, place_open, place_close),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_opened_leaves_the_log_as_it_was, place_open,
                                        place_close),
        cmocka_unit_test_setup_teardown(a_deleted_file_that_cannot_be_made_anew_leaves_standard_error,
                                        place_open, place_close),
        cmocka_unit_test_setup_teardown(lines_of_several_threads_never_mix, place_open, place_close),
        cmocka_unit_test_setup_teardown(a_full_pipe_loses_lines_but_no_time, place_open, place_close),
        cmocka_unit_test(a_stalled_terminal_loses_lines_but_no_time),
        cmocka_unit_test_setup_teardown(a_named_pipe_is_a_log_once_it_has_a_reader, place_open, place_close),
        cmocka_unit_test(levels_have_names),
    };

    if (argc > 1 && strcmp(argv[1], "bench") == 0)
        return bench();
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
