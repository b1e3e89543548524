/*
 * What a request tells the cache about itself. Each table holds the members of one place that mean something;
 * to teach the cache another one, add a row.
 */
#include <stdlib.h>

#include "canon_priv.h"
#include "refrain/base/attr.h"

struct place_row {
    struct slice name;
    enum canon_place place;
};

static const struct place_row root_rows[] = {
    {SLICE("model"), PLACE_MODEL},
    {SLICE("stream"), PLACE_STREAM},
    {SLICE("temperature"), PLACE_TEMPERATURE},
    {SLICE("messages"), PLACE_MESSAGES},
    {SLICE("contents"), PLACE_MESSAGES}, /* Gemini */
    {SLICE("input"), PLACE_MESSAGES},    /* responses, embeddings */
    {SLICE("store"), PLACE_STATE_IF_TRUE},
    {SLICE("background"), PLACE_STATE_IF_TRUE},
    {SLICE("conversation"), PLACE_STATE_IF_THERE},
    {SLICE("conversation_id"), PLACE_STATE_IF_THERE},
    {SLICE("thread"), PLACE_STATE_IF_THERE},
    {SLICE("thread_id"), PLACE_STATE_IF_THERE},
    {SLICE("container"),
     PLACE_STATE_IF_THERE}, /* Anthropic: id of a code container, or what to load into one */
    {SLICE("container_id"), PLACE_STATE_IF_THERE},
    {SLICE("prompt"), PLACE_PROMPT},
    {SLICE("system"), PLACE_WORDS}, /* Anthropic */
    {SLICE("systemInstruction"), PLACE_WORDS},
    {SLICE("system_instruction"), PLACE_WORDS},
    {SLICE("instructions"), PLACE_WORDS}, /* responses */
    {SLICE("query"), PLACE_WORDS},        /* rerank */
    {SLICE("documents"), PLACE_WORDS},
    {SLICE("content"), PLACE_WORDS}, /* Gemini's embeddings */
    {SLICE("requests"), PLACE_WORDS},
    {SLICE("tools"), PLACE_TOOLS},
    {SLICE("mcp_servers"), PLACE_SERVER_TOOL_IF_THERE},        /* Anthropic */
    {SLICE("web_search_options"), PLACE_SERVER_TOOL_IF_THERE}, /* OpenAI chat */
    {SLICE("search_parameters"), PLACE_SERVER_TOOL_IF_THERE},  /* xAI */
    {SLICE("plugins"), PLACE_SERVER_TOOL_IF_THERE},            /* OpenRouter */
    {SLICE("data_sources"), PLACE_SERVER_TOOL_IF_THERE},       /* Azure */
    {SLICE("connectors"), PLACE_SERVER_TOOL_IF_THERE},         /* Cohere */
    {SLICE("enable_search"), PLACE_SERVER_TOOL_IF_TRUE},       /* Alibaba */
    {SLICE("response_format"), PLACE_FORMAT},
    {SLICE("output_format"), PLACE_FORMAT}, /* Anthropic */
    {SLICE("format"), PLACE_FORMAT_ITSELF}, /* Ollama */
    {SLICE("text"), PLACE_TEXT},
    {SLICE("output_config"), PLACE_TEXT}, /* Anthropic: has a `format` of the same shape */
    {SLICE("options"), PLACE_OPTIONS},    /* Ollama */
    {SLICE("generationConfig"), PLACE_OPTIONS},
    {SLICE("generation_config"), PLACE_OPTIONS},
};

static const struct place_row tool_rows[] = {
    {SLICE("type"), PLACE_TOOL_TYPE},
    {SLICE("container"),
     PLACE_STATE_IF_STRING}, /* OpenAI's code interpreter: an id, or an object asking for a new one */
    {SLICE("container_id"), PLACE_STATE_IF_THERE},
    {SLICE("environment"), PLACE_TOOL_ENVIRONMENT},
    {SLICE("google_search"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("googleSearch"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("google_search_retrieval"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("googleSearchRetrieval"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("google_maps"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("googleMaps"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("code_execution"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("codeExecution"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("url_context"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("urlContext"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("file_search"), PLACE_SERVER_TOOL_IF_THERE},
    {SLICE("fileSearch"), PLACE_SERVER_TOOL_IF_THERE},
};

/* Inside a message: where its words may be. Ids, roles and images are none. */
static const struct place_row words_rows[] = {
    {SLICE("content"), PLACE_WORDS},    {SLICE("text"), PLACE_WORDS},     {SLICE("parts"), PLACE_WORDS},
    {SLICE("input"), PLACE_WORDS},      {SLICE("output"), PLACE_WORDS},   {SLICE("thinking"), PLACE_WORDS},
    {SLICE("tool_calls"), PLACE_WORDS}, {SLICE("function"), PLACE_WORDS}, {SLICE("arguments"), PLACE_WORDS},
};

static const struct place_row environment_rows[] = {
    {SLICE("container_id"), PLACE_STATE_IF_THERE},
    {SLICE("type"), PLACE_TOOL_ENVIRONMENT_TYPE},
};
static const struct place_row prompt_rows[] = {{SLICE("version"), PLACE_PROMPT_VERSION}};
static const struct place_row format_rows[] = {{SLICE("type"), PLACE_FORMAT_TYPE}};
static const struct place_row text_rows[] = {{SLICE("format"), PLACE_FORMAT}};
static const struct place_row options_rows[] = {
    {SLICE("temperature"), PLACE_TEMPERATURE},
    {SLICE("responseMimeType"), PLACE_MIME_TYPE},
    {SLICE("response_mime_type"), PLACE_MIME_TYPE},
};

#define ROWS(rows)                                                                                           \
    {                                                                                                        \
        rows, ARRAY_LEN(rows)                                                                                \
    }
static const struct {
    const struct place_row *at;
    size_t n;
} members[PLACE_COUNT] = {
    [PLACE_ROOT] = ROWS(root_rows),     [PLACE_TOOLS] = ROWS(tool_rows), /* one that stands in no array */
    [PLACE_TOOL] = ROWS(tool_rows),     [PLACE_TOOL_ENVIRONMENT] = ROWS(environment_rows),
    [PLACE_PROMPT] = ROWS(prompt_rows), [PLACE_FORMAT] = ROWS(format_rows),
    [PLACE_TEXT] = ROWS(text_rows),     [PLACE_OPTIONS] = ROWS(options_rows),
    [PLACE_WORDS] = ROWS(words_rows),
};

/*
 * `tools[].type` of tools that the client runs itself; versions follow some names ("bash_20250124",
 * "computer_use_preview"). All others run at the provider and may look at the world: search, code, MCP, and
 * what has not been thought of yet, which costs a miss.
 */
static const struct slice client_tool_types[] = {
    SLICE("function"),     SLICE("custom"),       SLICE("bash"),        SLICE("text_editor"),
    SLICE("computer"),     SLICE("memory"),       SLICE("local_shell"), SLICE("shell"),
    SLICE("computer_use"), SLICE("computer-use"), SLICE("apply_patch"),
};

static bool is_client_tool(const struct canon_rules *rules, struct slice name)
{
    for (size_t i = 0; i < rules->client_tools_n; i++)
        if (slice_eq(rules->client_tools[i], name))
            return true;
    return false;
}

enum canon_place canon_place_member(const struct canon_rules *rules, enum canon_place parent,
                                    struct slice name)
{
    const struct place_row *rows = members[parent].at;

    if (UNLIKELY((parent == PLACE_TOOL || parent == PLACE_TOOLS) && rules->client_tools_n > 0))
        return is_client_tool(rules, name) ? PLACE_NONE : PLACE_SERVER_TOOL_IF_THERE;

    for (size_t i = 0; i < members[parent].n; i++)
        if (rows[i].name.len == name.len && memcmp(rows[i].name.data, name.data, name.len) == 0)
            return rows[i].place;
    return PLACE_NONE;
}

enum canon_place canon_place_element(enum canon_place parent)
{
    switch (parent) {
    case PLACE_TOOLS:
        return PLACE_TOOL;
    case PLACE_MESSAGES:
    case PLACE_PROMPT:
    case PLACE_WORDS:
        return PLACE_WORDS;
    default:
        return PLACE_NONE;
    }
}

static bool is_version(struct slice rest)
{
    return rest.len == 0 || slice_eq(rest, SLICE_OF("_preview")) || slice_eq(rest, SLICE_OF("-preview")) ||
           (rest.len > 1 && rest.data[0] == '_' && rest.data[1] >= '0' && rest.data[1] <= '9');
}

static bool is_server_tool(struct slice type)
{
    for (size_t i = 0; i < ARRAY_LEN(client_tool_types); i++)
        if (slice_starts(type, client_tool_types[i]) &&
            is_version(slice_skip(type, client_tool_types[i].len)))
            return false;
    return true;
}

/* A number longer than this is cut: a temperature is a hint to rules, its exact value is in the canonical
 * form. */
static double number_value(struct slice text)
{
    char digits[64];
    size_t n = text.len < sizeof(digits) - 1 ? text.len : sizeof(digits) - 1;

    memcpy(digits, text.data, n);
    digits[n] = '\0';
    return strtod(digits, NULL);
}

static void note_stream(struct canon_facts *facts, enum canon_kind kind)
{
    if (kind == KIND_TRUE || kind == KIND_FALSE)
        facts->stream = kind == KIND_TRUE;
}

static void note_temperature(struct canon_facts *facts, const struct canon_value *value)
{
    if (value->kind != KIND_NUMBER)
        return;
    facts->has_temperature = true;
    facts->temperature = number_value(value->text);
}

/* The low half of a pair of \uXXXX, which is one character. */
static bool is_low_surrogate(const char *digits)
{
    return (digits[0] | 0x20) == 'd' && strchr("cdefCDEF", digits[1]);
}

/* Of UTF-8: as many as there are bytes that do not go on with one (10xxxxxx). A prompt's every byte is looked
 * at, so by eights: a bit each, summed up in the highest byte. */
static size_t utf8_characters(struct slice text)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    size_t i = 0, going_on = 0;

    for (; text.len - i >= sizeof(each); i += sizeof(each)) {
        uint64_t w;

        memcpy(&w, text.data + i, sizeof(w));
        going_on += ((w >> 7 & ~w >> 6 & each) * each) >> 56;
    }
    for (; i < text.len; i++)
        going_on += ((unsigned char)text.data[i] & 0xC0) == 0x80;
    return text.len - going_on;
}

/* Of a string's text that was read whole, so that what stands behind a backslash is there. */
static size_t characters_of(struct slice text, bool escaped)
{
    size_t n = utf8_characters(text);

    for (size_t i = 0; escaped && i + 1 < text.len; i++) {
        if (text.data[i] != '\\')
            continue;
        n -= 1;
        if (text.data[++i] != 'u' || text.len - i < 5)
            continue;
        n -= is_low_surrogate(text.data + i + 1) ? 5 : 4;
        i += 4;
    }
    return n;
}

/* Some write `/` as `\/` wherever it stands: what rules say of a model is about its name, however that is
 * written. */
static void note_model(struct canon_facts *facts, const struct canon_value *value)
{
    facts->model = (struct slice){NULL, 0};
    if (value->kind != KIND_STRING)
        return;
    if (!value->escaped) {
        facts->model = value->text;
    } else if (value->plain.len <= sizeof(facts->model_unescaped) &&
               !memchr(value->plain.data, '\\', value->plain.len)) {
        memcpy(facts->model_unescaped, value->plain.data, value->plain.len);
        facts->model = slice_make(facts->model_unescaped, value->plain.len);
    }
}

static void note_words(struct canon_facts *facts, const struct canon_value *value)
{
    if (value->kind == KIND_STRING)
        facts->characters += characters_of(value->text, value->escaped);
}

void canon_note(struct canon_facts *facts, struct canon_noted *noted, enum canon_place place,
                const struct canon_value *value)
{
    bool is_string = value->kind == KIND_STRING, there = value->kind != KIND_NULL;

    switch (place) {
    case PLACE_MODEL:
        note_model(facts, value);
        break;
    case PLACE_STREAM:
        note_stream(facts, value->kind);
        break;
    case PLACE_TEMPERATURE:
        note_temperature(facts, value);
        break;
    case PLACE_MESSAGES:
        if (value->kind == KIND_ARRAY)
            facts->messages = value->count;
        note_words(facts, value);
        break;
    case PLACE_WORDS:
        note_words(facts, value);
        break;
    case PLACE_STATE_IF_TRUE:
        noted->state |= value->kind == KIND_TRUE;
        break;
    case PLACE_STATE_IF_THERE:
        noted->state |= there;
        break;
    case PLACE_STATE_IF_STRING:
        noted->state |= is_string;
        break;
    case PLACE_SERVER_TOOL_IF_THERE:
        noted->server_tools |= there;
        break;
    case PLACE_SERVER_TOOL_IF_TRUE:
        noted->server_tools |= value->kind == KIND_TRUE;
        break;
    case PLACE_TOOL_TYPE:
        noted->server_tools |= is_string && is_server_tool(value->plain);
        break;
    case PLACE_TOOL_ENVIRONMENT_TYPE: /* OpenAI's shell: at the client, or in a container of the provider's */
        noted->server_tools |= is_string && slice_starts(value->plain, SLICE_OF("container"));
        break;
    case PLACE_PROMPT_VERSION:
        noted->prompt_versioned = there;
        break;
    case PLACE_PROMPT: /* a stored prompt can change upstream, its versions can't */
        noted->state |= value->kind == KIND_OBJECT && !noted->prompt_versioned;
        note_words(facts, value);
        break;
    case PLACE_FORMAT_TYPE: /* json_object, json_schema */
        facts->wants_json |= is_string && slice_starts(value->plain, SLICE_OF("json"));
        break;
    case PLACE_FORMAT_ITSELF:
        facts->wants_json |=
            value->kind == KIND_OBJECT || (is_string && slice_eq(value->plain, SLICE_OF("json")));
        break;
    case PLACE_MIME_TYPE:
        facts->wants_json |= is_string && slice_starts(value->plain, SLICE_OF("application/json"));
        break;
    default:
        break;
    }
}

bool canon_is_asked(struct slice member)
{
    for (size_t i = 0; i < ARRAY_LEN(root_rows); i++) {
        if (!slice_eq(root_rows[i].name, member))
            continue;
        switch (root_rows[i].place) {
        case PLACE_MODEL:
        case PLACE_MESSAGES:
        case PLACE_PROMPT:
        case PLACE_WORDS:
        case PLACE_TOOLS:
        case PLACE_FORMAT:
        case PLACE_FORMAT_ITSELF:
        case PLACE_TEXT:
            return true;
        default:
            return false;
        }
    }
    return false;
}
