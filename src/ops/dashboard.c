#include "dashboard.h"

#include "dashboard_files.h"
#include "refrain/base/attr.h"
#include "refrain/policy/ask.h"
#include "refrain/wire/header.h"

/* What a browser may do with the page: run and show what came from here, ask here, and nothing else. Of what
 * it is told nothing becomes markup or script, which the last two hold it to. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                             "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                             "frame-ancestors 'none'; require-trusted-types-for 'script'; "
                             "trusted-types 'none'";

static const struct fixed_field {
    const char *name, *value;
} fixed_fields[] = {
    {"Cache-Control", "no-cache"}, /* kept, and asked about each time: an upgrade shows at once */
    {"Vary", "Accept-Encoding"},
    {"Content-Security-Policy", policy},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Embedder-Policy", "require-corp"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"},
};

static void answer_file(struct front_req *r, const struct dashboard_file *file)
{
    const struct field *coding = fields_find_id(&r->fields, HEADER_ACCEPT_ENCODING);
    const struct field *known = fields_find_id(&r->fields, HEADER_IF_NONE_MATCH);
    bool gzip = coding && accepts_gzip(coding->value);
    const struct dashboard_form *form = gzip ? &file->gzip : &file->plain;
    bool unchanged = known && etag_list_matches(known->value, slice_str(form->etag));

    front_reply_bytes(r, unchanged ? SLICE_OF("") : form->bytes, NULL, NULL);
    front_reply_field(r, "ETag", form->etag);
    for (size_t i = 0; i < ARRAY_LEN(fixed_fields); i++)
        front_reply_field(r, fixed_fields[i].name, fixed_fields[i].value);
    if (!unchanged) {
        front_reply_field(r, "Content-Type", file->type);
        if (gzip)
            front_reply_field(r, "Content-Encoding", "gzip");
    }
    front_reply_send(r, unchanged ? 304 : 200);
}

/* Relative: it holds behind a proxy that adds a prefix, too. */
static void answer_elsewhere(struct front_req *r, const char *location)
{
    front_reply_bytes(r, SLICE_OF(""), NULL, NULL);
    front_reply_field(r, "Location", location);
    front_reply_field(r, "Cache-Control", "no-store");
    front_reply_send(r, 302);
}

bool dashboard_answer(struct front_req *r, struct slice path)
{
    bool beside = slice_eq(path, SLICE_OF(DASHBOARD_PATH "/"));

    if (beside || slice_eq(path, SLICE_OF("/"))) {
        answer_elsewhere(r, beside ? "../dashboard" : "dashboard");
        return true;
    }
    for (size_t i = 0; i < dashboard_files_n; i++) {
        if (!slice_eq(path, slice_str(dashboard_files[i].path)))
            continue;
        answer_file(r, &dashboard_files[i]);
        return true;
    }
    return false;
}
