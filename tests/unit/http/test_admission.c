/* admission: who is let in by what, and that a token that was met is nobody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "refrain/base/attr.h"
#include "refrain/http/admission.h"
#include "refrain/wire/credential.h"

struct world {
    struct clients *clients;
    struct roster *roster;
    struct admitter *admitter;
    struct header_table *table;
};

static int begin(void **state)
{
    static struct world w;
    const struct digest alice = sha256_of(SLICE_OF("alice-token")), bob = sha256_of(SLICE_OF("bob-token"));
    const struct client_conf confs[] = {
        {.name = SLICE("alice"), .tokens = &alice, .tokens_n = 1, .namespace_ = SLICE("hers")},
        {.name = SLICE("bob"), .tokens = &bob, .tokens_n = 1},
    };

    w.clients = clients_new();
    w.roster = roster_new(w.clients, confs, ARRAY_LEN(confs));
    w.admitter = admitter_new();
    w.table = header_table_new((struct header_names){NULL, 0}, (struct header_names){NULL, 0});
    *state = &w;
    return 0;
}

static int end(void **state)
{
    struct world *w = *state;

    header_table_free(w->table);
    admitter_free(w->admitter);
    roster_free(w->roster);
    clients_free(w->clients);
    return 0;
}

static struct fields fields_of(const struct world *w, const char *const *lines)
{
    struct fields f = {.n = 0};

    for (; *lines; lines++) {
        struct slice value = slice_str(*lines), name = slice_cut(&value, ':');

        assert_int_equal(fields_add(&f, name, slice_trim(value)), 0);
    }
    fields_classify(&f, w->table);
    return f;
}

#define ALICE "Authorization: Bearer alice-token"

static const struct {
    const char *why, *method, *target, *lines[4];
    bool has_body, key_in_query;
    enum admission want;
    const char *client, *left; /* of the target */
} cases[] = {
    {"a client", "POST", "/v1", {ALICE}, true, false, ADMISSION_GIVEN, "alice", "/v1"},
    {"by the query", "POST", "/v1?key=bob-token&a=1", {NULL}, true, true, ADMISSION_GIVEN, "bob", "/v1?a=1"},
    {"by the query of any path",
     "PUT",
     "/v1?key=bob-token",
     {NULL},
     true,
     false,
     ADMISSION_GIVEN,
     "bob",
     "/v1"},
    {"by both", "POST", "/v1?key=alice-token", {ALICE}, true, true, ADMISSION_GIVEN, "alice", "/v1"},
    {"content that is so called",
     "GET",
     "/v1?key=of-a-lock",
     {ALICE},
     false,
     false,
     ADMISSION_GIVEN,
     "alice",
     "/v1?key=of-a-lock"},
    {"a key for upstream",
     "POST",
     "/v1?key=AIza",
     {ALICE},
     true,
     true,
     ADMISSION_SEVERAL,
     NULL,
     "/v1?key=AIza"},
    {"another's token is no content",
     "GET",
     "/v1?key=bob-token",
     {ALICE},
     false,
     false,
     ADMISSION_SEVERAL,
     NULL,
     "/v1?key=bob-token"},
    {"two in the query",
     "GET",
     "/v1?key=bob-token&key=alice-token",
     {NULL},
     false,
     false,
     ADMISSION_SEVERAL,
     NULL,
     "/v1?key=bob-token&key=alice-token"},
    {"nothing", "POST", "/v1", {"Accept: */*"}, true, false, ADMISSION_MISSING, NULL, "/v1"},
    {"nobody's", "POST", "/v1", {"x-api-key: carol-token"}, true, false, ADMISSION_UNKNOWN, NULL, "/v1"},
    {"a preflight",
     "OPTIONS",
     "/v1",
     {"Origin: a", "Access-Control-Request-Method: POST"},
     false,
     false,
     ADMISSION_PREFLIGHT,
     NULL,
     "/v1"},
    {"with a body it is none",
     "OPTIONS",
     "/v1",
     {"Origin: a", "Access-Control-Request-Method: POST"},
     true,
     false,
     ADMISSION_MISSING,
     NULL,
     "/v1"},
    {"nor with a wrong token",
     "OPTIONS",
     "/v1",
     {"Origin: a", "Access-Control-Request-Method: POST", "api-key: x"},
     false,
     false,
     ADMISSION_UNKNOWN,
     NULL,
     "/v1"},
    {"nor by another method",
     "GET",
     "/v1",
     {"Origin: a", "Access-Control-Request-Method: POST"},
     false,
     false,
     ADMISSION_MISSING,
     NULL,
     "/v1"},
};

static void who_is_let_in(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) { /* the second time it has met them */
        size_t k = i % ARRAY_LEN(cases);
        struct fields f = fields_of(w, cases[k].lines);
        char bytes[128];
        struct admission_request r = {
            .method = slice_str(cases[k].method),
            .target = slice_make(bytes, strlen(cases[k].target)),
            .target_bytes = bytes,
            .fields = &f,
            .has_body = cases[k].has_body,
            .key_in_query = cases[k].key_in_query,
        };
        const struct client *client = NULL;
        struct slice left;

        print_message("%s\n", cases[k].why);
        memcpy(bytes, cases[k].target, r.target.len);
        assert_int_equal(admit(w->admitter, w->roster, true, &r, &client), cases[k].want);
        assert_int_equal(client != NULL, cases[k].client != NULL);
        if (client)
            assert_true(slice_eq(client->conf.name, slice_str(cases[k].client)));
        assert_true(slice_eq(r.target, slice_str(cases[k].left)));
        if (cases[k].want == ADMISSION_GIVEN)
            assert_int_equal(credential_of_fields(&f, &left), CREDENTIAL_NONE);
        else if (cases[k].want != ADMISSION_PREFLIGHT)
            assert_true(admission_refusal(cases[k].want)[0] != '\0');
    }
}

static const struct client *ask(struct world *w, const struct roster *roster, const char *token,
                                bool remember)
{
    char line[64];
    const char *lines[] = {line, NULL};
    const struct client *client = NULL;
    struct admission_request r = {.method = SLICE("POST"), .target = SLICE("/")};
    struct fields f;

    (void)snprintf(line, sizeof(line), "x-api-key: %s", token);
    f = fields_of(w, lines);
    r.fields = &f;
    (void)admit(w->admitter, roster, remember, &r, &client);
    return client;
}

static void what_was_met_is_forgotten_with_its_roster(void **state)
{
    struct world *w = *state;
    const struct client_conf other = {.name = SLICE("other")};
    struct roster *without = roster_new(w->clients, &other, 1);

    assert_non_null(ask(w, w->roster, "alice-token", true));
    assert_null(ask(w, without, "alice-token", false)); /* of a request that began before, or is explained */
    assert_non_null(ask(w, w->roster, "alice-token", true));
    admitter_forget(w->admitter);
    assert_null(ask(w, without, "alice-token", true));
    roster_free(without);
}

static void many_strangers_push_nobody_in(void **state)
{
    struct world *w = *state;
    char token[32];

    for (int i = 0; i < 20000; i++) {
        (void)snprintf(token, sizeof(token), "guess-%d", i);
        assert_null(ask(w, w->roster, token, true));
        if (i % 100 == 0)
            assert_true(slice_eq(ask(w, w->roster, "bob-token", true)->conf.name, SLICE_OF("bob")));
    }
}

static void a_namespace_is_held_to(void **state)
{
    static const struct {
        const char *why, *client, *asked, *want;
        bool own, ok;
    } rows[] = {
        {"nothing asked: its own", "alice", "", "hers", false, true},
        {"its own by name", "alice", "hers", "hers", true, true},
        {"another, by ours", "alice", "else", "hers", true, false},
        {"another, by a peer's", "alice", "else", "hers", false, true},
        {"free to choose", "bob", "else", "else", true, true},
        {"but not another client's", "bob", "hers", "", true, false},
        {"by a peer's neither", "bob", "hers", "", false, true},
        {"nor to say nothing", "bob", "", "", false, true},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ask one = {.namespace_ = slice_str(rows[i].asked), .own_namespace = rows[i].own};
        const char *why = NULL;

        print_message("%s\n", rows[i].why);
        assert_int_equal(
            admission_namespace(w->roster, roster_named(w->roster, slice_str(rows[i].client)), &one, &why),
            rows[i].ok);
        assert_true(slice_eq(one.namespace_, slice_str(rows[i].want)));
        assert_int_equal(why != NULL, !rows[i].ok);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_let_in, begin, end),
        cmocka_unit_test_setup_teardown(what_was_met_is_forgotten_with_its_roster, begin, end),
        cmocka_unit_test_setup_teardown(many_strangers_push_nobody_in, begin, end),
        cmocka_unit_test_setup_teardown(a_namespace_is_held_to, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
