/* What could not be told to the others, Redis being away, outlives the process (ledger.h). */
#include <stdlib.h>

#include "instances_priv.h"
#include "refrain/base/attr.h"
#include "refrain/base/buf.h"
#include "refrain/store/fences.h"
#include "refrain/store/ledger.h"

enum { LEDGER_BYTES_MAX = 24 * 1024 * 1024 };

/* -- writing -- */

static int add_log(const struct instances_log *log, struct buf *out)
{
    int r = 0;

    LIST_FOR(it, &log->waiting)
    {
        const struct outgoing *o = CONTAINER_OF(it, struct outgoing, link);

        if (r == 0)
            r = buf_addf(out, "%s %.*s\n", log->name, (int)o->len, o->text);
    }
    return r;
}

void instances_keep(struct instances *in)
{
    AUTO(buf_done) struct buf lines = BUF_INIT(LEDGER_BYTES_MAX);
    int r = 0;

    if (!in->conf.ledger)
        return;
    for (size_t i = 0; r == 0 && i < LOGS; i++)
        r = in->logs[i].in ? add_log(&in->logs[i], &lines) : 0;
    in->unkept = r < 0;
    if (in->unkept)
        return;
    in->keeping = lines.len > 0;
    ledger_set(in->conf.ledger, LEDGER_UNTOLD, buf_slice(&lines));
    in->unkept = ledger_write(in->conf.ledger) < 0; /* tried again at the next beat */
}

/* -- reading -- */

static struct instances_log *log_named(struct instances *in, struct slice name)
{
    for (size_t i = 0; i < LOGS; i++)
        if (slice_eq(name, slice_str(in->logs[i].name)))
            return &in->logs[i];
    return NULL;
}

/* Until it stands in the log, this is where it is known; Redis may have what it means. */
static void fence(const struct instances *in, const struct instances_msg *m)
{
    const struct selector target = {.target = m->sum};
    int64_t now = instances_seq(in), seq = m->at_ms >= now / 1000 ? now : m->at_ms * 1000 + 999;

    if (m->kind == MSG_INVALIDATED)
        fences_add(in->conf.fences, &m->which, seq);
    else if (m->kind == MSG_TARGET)
        fences_add(in->conf.fences, &target, seq);
}

/* Nobody waits for an answer any more; whoever hears of it, this instance included, does what it says. */
static void on_line(void *arg, struct slice line)
{
    struct instances *in = arg;
    struct instances_log *log = log_named(in, slice_cut(&line, ' '));
    struct instances_msg *m = calloc(1, sizeof(*m));

    if (!m)
        abort(); /* small, at the start */
    if (!log || !instances_msg_read(line, m) || m->kind == MSG_ANSWER) {
        ledger_odd(in->conf.ledger);
    } else if (!m->dry_run) {
        m->ask = 0;
        fence(in, m);
        instances_log_add(log, instances_outgoing(m));
    }
    free(m);
}

void instances_keep_begin(struct instances *in)
{
    ledger_read(in->conf.ledger, LEDGER_UNTOLD, on_line, in);
    in->keeping = true;
    in->unkept = true;
}
