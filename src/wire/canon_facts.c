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
    {SLICE("tools"), PLACE_TOOLS},
    {SLICE("mcp_servers"), PLACE_SERVER_TOOL_IF_THERE},        /* Anthropic */
    {SLICE("web_search_options"), PLACE_SERVER_TOOL_IF_THERE}, /* OpenAI chat */
    {SLICE("search_parameters"), PLACE_SERVER_TOOL_IF_THERE},  /* xAI */
    {SLICE("plugins"), PLACE_SERVER_TOOL_IF_THERE},            /* OpenRouter */
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

static const struct place_row environment_rows[] = {{SLICE("container_id"), PLACE_STATE_IF_THERE}};
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
    [PLACE_ROOT] = ROWS(root_rows),
    [PLACE_TOOL] = ROWS(tool_rows),
    [PLACE_TOOL_ENVIRONMENT] = ROWS(environment_rows),
    [PLACE_PROMPT] = ROWS(prompt_rows),
    [PLACE_FORMAT] = ROWS(format_rows),
    [PLACE_TEXT] = ROWS(text_rows),
    [PLACE_OPTIONS] = ROWS(options_rows),
};

/* `tools[].type` of tools that run at the provider; versions follow the name ("web_search_20250305"). */
static const struct slice server_tool_types[] = {
    SLICE("web_search"), SLICE("web_fetch"),          SLICE("file_search"), SLICE("code_interpreter"),
    SLICE("mcp"),        SLICE("code_execution"),     SLICE("x_search"),    SLICE("live_search"),
    SLICE("image_gen"),  SLICE("collections_search"), SLICE("tool_search"), SLICE("browser_search"),
};

enum canon_place canon_place_member(enum canon_place parent, struct slice name)
{
    const struct place_row *rows = members[parent].at;

    for (size_t i = 0; i < members[parent].n; i++)
        if (rows[i].name.len == name.len && memcmp(rows[i].name.data, name.data, name.len) == 0)
            return rows[i].place;
    return PLACE_NONE;
}

enum canon_place canon_place_element(enum canon_place parent)
{
    return parent == PLACE_TOOLS ? PLACE_TOOL : PLACE_NONE;
}

static bool is_server_tool(struct slice type)
{
    for (size_t i = 0; i < ARRAY_LEN(server_tool_types); i++)
        if (slice_starts(type, server_tool_types[i]))
            return true;
    return false;
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

void canon_note(struct canon_facts *facts, struct canon_noted *noted, enum canon_place place,
                const struct canon_value *value)
{
    bool is_string = value->kind == KIND_STRING, there = value->kind != KIND_NULL;

    switch (place) {
    case PLACE_MODEL:
        facts->model = is_string && !value->escaped ? value->text : (struct slice){NULL, 0};
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
    case PLACE_TOOL_TYPE: /* an escape hides the name, and nobody honest escapes one */
        noted->server_tools |= is_string && (value->escaped || is_server_tool(value->text));
        break;
    case PLACE_PROMPT_VERSION:
        noted->prompt_versioned = there;
        break;
    case PLACE_PROMPT: /* a stored prompt can change upstream, its versions can't */
        noted->state |= value->kind == KIND_OBJECT && !noted->prompt_versioned;
        break;
    case PLACE_FORMAT_TYPE: /* json_object, json_schema */
        facts->wants_json |= is_string && slice_starts(value->text, SLICE_OF("json"));
        break;
    case PLACE_FORMAT_ITSELF:
        facts->wants_json |=
            value->kind == KIND_OBJECT || (is_string && slice_eq(value->text, SLICE_OF("json")));
        break;
    case PLACE_MIME_TYPE:
        facts->wants_json |= is_string && slice_starts(value->text, SLICE_OF("application/json"));
        break;
    default:
        break;
    }
}
