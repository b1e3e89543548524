/*
 * Speech from text: sound as it is made, or with `"stream_format":"sse"` events that carry it.
 * https://platform.openai.com/docs/api-reference/audio/createSpeech
 *
 * Sound is passed on as it comes and has no end of its own: it is whole when the message is.
 */
#include "dialect_priv.h"
#include "refrain/base/attr.h"
#include "tally_priv.h"

static const struct slice ignored[] = {SLICE("user"), SLICE("metadata")}; /* who asks, not what is asked */

static void speech_whole(struct tally *t, struct slice body)
{
    if (body.len > 0)
        tally_payload(t);
}

static enum event_meaning speech_event(struct tally *t, struct slice event, struct slice data)
{
    struct jscan_value root = jscan_root(data);
    struct jscan_value type = jscan_get(root, SLICE_OF("type"));
    struct jscan_value usage = jscan_get(root, SLICE_OF("usage"));

    (void)event;
    if (!jscan_is_empty(jscan_get(root, SLICE_OF("audio"))))
        tally_payload(t);
    tally_tokens(t, jscan_count(jscan_get(usage, SLICE_OF("input_tokens")), -1),
                 jscan_count(jscan_get(usage, SLICE_OF("output_tokens")), -1));
    return jscan_is(type, SLICE_OF("speech.audio.done")) ? EVENT_LAST : EVENT_MORE;
}

const struct dialect dialect_speech = {
    .name = "speech",
    .accept_counts = true,
    .paths = {{SLICE("/audio/speech"), STREAM_ALWAYS}},
    .canon = {.ignored = ignored, .ignored_n = ARRAY_LEN(ignored), .drop_nulls = true},
    .streams = STREAMS(STREAM_BYTES) | STREAMS(STREAM_SSE),
    .ends_with_message = true,
    .request_id_header = "x-request-id",
    .usages = {OWN_USAGE("usage")},
    .whole = speech_whole,
    .event = speech_event,
    .error = dialect_openai_error,
};
