/* /instances: who else shares this Redis, and whether they can be heard. */
#include "api.h"
#include "refrain/http/site.h"
#include "refrain/store/events.h"
#include "refrain/store/instances.h"

static void write_one(struct jout *j, const struct instance_seen *s)
{
    jout_object(j, NULL);
    jout_str(j, "id", s->id);
    jout_str(j, "name", s->name[0] ? s->name : NULL);
    jout_bool(j, "self", s->self);
    jout_int(j, "started_ms", s->since_ms);
    jout_milli(j, "seen_s_ago", s->seen_ms);
    jout_int(j, "clock_ahead_ms", s->ahead_ms);
    jout_end(j);
}

void api_instances_list(struct api_call *c)
{
    static const char *const links[] = {
        [INSTANCES_CONNECTING] = "connecting", [INSTANCES_LINKED] = "up", [INSTANCES_CUT] = "cut"};
    struct jout j = jout_begin(c->out);
    struct instances_stats st;

    instances_stats(c->site->instances, &st);
    jout_object(&j, NULL);
    jout_str(&j, "self", events_source(c->parts.events));
    jout_str(&j, "link", c->site->instances ? links[st.link] : "off");
    jout_str(&j, "why", st.why);
    if (c->site->instances)
        jout_milli(&j, "for_s", st.link_ms);
    jout_int(&j, "waiting", st.waiting);
    jout_array(&j, "instances");
    for (size_t i = 0; i < st.seen_n; i++)
        write_one(&j, &st.seen[i]);
    jout_end(&j);
    jout_end(&j);
    api_done(c, &j);
}
