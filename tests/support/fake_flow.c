/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_flow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/h2.h"
#include "common/rpc.h"
#include "tests/support/fake_say.h"

#define CHUNK 20000

struct flow {
	TAILQ_ENTRY(flow) entry;
	char id[65];
	uint64_t key;
	uint64_t length[3], oldest[3]; /* by stream */
	uint64_t in;
	bool has_stdin, in_ended, ended, cuts;
	struct flow_run *run;
};

struct flow_run {
	struct flow_table *table;
	struct flow *flow; /* NULL: it was forgotten, or another took its place */
	struct rpc_call *call;
	uint64_t sent[3], acked[3];
	bool eof[3], exited, promised;
};

struct flow_table {
	TAILQ_HEAD(, flow) flows;
	struct fake_agent *agent;
	struct fake_seen *seen;
	bool hold, queue;
};

struct flow_table *flow_table_new(struct fake_agent *agent)
{
	struct flow_table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		abort();
	TAILQ_INIT(&t->flows);
	t->agent = agent;
	t->seen = fake_agent_seen(agent);
	return t;
}

static void forget(struct flow_table *t, struct flow *f)
{
	if (f->run != NULL)
		f->run->flow = NULL;
	TAILQ_REMOVE(&t->flows, f, entry);
	free(f);
}

void flow_forget(struct flow_table *t)
{
	while (!TAILQ_EMPTY(&t->flows))
		forget(t, TAILQ_FIRST(&t->flows));
}

void flow_table_free(struct flow_table *t)
{
	flow_forget(t);
	free(t);
}

static struct flow *find(struct flow_table *t, const char *id)
{
	struct flow *f;

	TAILQ_FOREACH(f, &t->flows, entry)
	if (strcmp(f->id, id) == 0)
		return f;
	return NULL;
}

/* ---- output ---- */

static bool is_over(const struct flow *f)
{
	return f->ended || !f->has_stdin || f->in_ended;
}

static void say_exit(struct flow_run *r)
{
	struct flow *f = r->flow;

	r->exited = true;
	fake_say_exit(r->call, 0, 0, f->length[1], f->length[2]);
	if (r->promised)
		return;
	rpc_finish(r->call, NULL);
	forget(r->table, f);
}

static void say_some(struct flow_run *r, int stream)
{
	struct flow *f = r->flow;
	uint64_t left = f->length[stream] - r->sent[stream];
	size_t n = left < CHUNK ? (size_t)left : CHUNK;
	uint8_t data[CHUNK];

	for (size_t i = 0; i < n; i++)
		data[i] = fake_pattern(r->sent[stream] + i);
	r->eof[stream] = n == left;
	fake_say_output(r->call, stream, r->sent[stream], data, n, r->eof[stream]);
	r->sent[stream] += n;
}

void flow_writable(struct flow_run *r)
{
	if (r->flow == NULL || r->exited || r->table->hold || r->table->queue)
		return;
	while (!(r->eof[1] && r->eof[2]) && rpc_pending(r->call) < H2_SEND_HIGH)
		for (int stream = 1; stream <= 2; stream++)
			if (!r->eof[stream])
				say_some(r, stream);
	if (r->eof[1] && r->eof[2] && is_over(r->flow))
		say_exit(r);
}

/* ---- the first message ---- */

static bool offset_is_held(struct flow_run *r, int stream)
{
	struct rpc_status s;

	if (r->sent[stream] >= r->flow->oldest[stream])
		return true;
	rpc_status_set(&s, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", "that is not held");
	rpc_status_meta(&s, "stream", "%s", stream == 2 ? "stderr" : "stdout");
	rpc_status_meta(&s, "oldest", "%" PRIu64, r->flow->oldest[stream]);
	rpc_status_meta(&s, "newest", "%" PRIu64, r->flow->length[stream]);
	rpc_finish(r->call, &s);
	return false;
}

/* One with the same key takes the other's place. */
static void replace(struct flow *f)
{
	struct flow_run *old = f->run;

	if (old == NULL)
		return;
	f->run = NULL;
	old->flow = NULL;
	rpc_fail(old->call, RPC_ABORTED, NULL, "another took its place");
}

static struct flow_run *join(struct flow_table *t, struct flow *f, struct rpc_call *c,
    const Telex__V1__Resume *resume, bool created, bool promised)
{
	struct flow_run *r = calloc(1, sizeof(*r));
	struct fake_started s = {.created = created, .queued = t->queue, .stdin_offset = f->in};

	if (r == NULL)
		abort();
	replace(f);
	r->table = t;
	r->flow = f;
	r->call = c;
	r->promised = promised;
	f->run = r;
	for (int stream = 1; stream <= 2; stream++) {
		s.oldest[stream] = f->oldest[stream];
		s.newest[stream] = f->length[stream];
		r->sent[stream] = f->oldest[stream];
	}
	if (resume != NULL) {
		if (resume->stdout_offset != UINT64_MAX)
			r->sent[1] = resume->stdout_offset;
		if (resume->stderr_offset != UINT64_MAX)
			r->sent[2] = resume->stderr_offset;
	}
	if (!offset_is_held(r, 1) || !offset_is_held(r, 2)) {
		f->run = NULL;
		r->flow = NULL;
		return r;
	}
	r->acked[1] = r->sent[1];
	r->acked[2] = r->sent[2];
	fake_say_started(c, &s);
	flow_writable(r);
	return r;
}

static uint64_t number(const Telex__V1__ProcessSpec *spec, size_t i)
{
	char text[32];

	if (i >= spec->n_argv)
		return 0;
	snprintf(
	    text, sizeof(text), "%.*s", (int)spec->argv[i].len, (const char *)spec->argv[i].data);
	return strtoull(text, NULL, 10);
}

struct flow_run *flow_start(struct flow_table *t, struct rpc_call *c, const Telex__V1__RunStart *m)
{
	struct flow *f = find(t, m->process_id);
	bool created = f == NULL;

	t->seen->starts++;
	if (m->attachment_key == 0 || !m->acknowledge_exit)
		t->seen->rules_broken = "a start without key or acknowledge_exit";
	if (created) {
		f = calloc(1, sizeof(*f));
		if (f == NULL)
			abort();
		snprintf(f->id, sizeof(f->id), "%s", m->process_id);
		f->length[1] = number(m->spec, 1);
		f->length[2] = number(m->spec, 2);
		f->has_stdin = m->spec->stdin == TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE;
		f->cuts = m->spec->n_argv > 3;
		f->key = m->attachment_key;
		TAILQ_INSERT_TAIL(&t->flows, f, entry);
		t->seen->created++;
	}
	if (f->key != m->attachment_key)
		t->seen->rules_broken = "another key";
	return join(t, f, c, m->resume, created, m->acknowledge_exit);
}

struct flow_run *flow_attach(
    struct flow_table *t, struct rpc_call *c, const Telex__V1__RunAttach *m)
{
	struct flow *f = find(t, m->process_id);

	t->seen->attaches++;
	t->seen->lossy = m->lossy;
	if (f == NULL) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_PROCESS", "there is no process \"%s\"",
		    m->process_id);
		return NULL;
	}
	if (f->run != NULL && f->key != m->attachment_key)
		t->seen->rules_broken = "another key";
	f->key = m->attachment_key;
	if (m->stdin && !f->has_stdin)
		t->seen->rules_broken = "stdin of a process without";
	return join(t, f, c, m->resume, false, m->acknowledge_exit);
}

/* ---- later ones ---- */

static void take_stdin(struct flow_run *r, const Telex__V1__StdinChunk *m)
{
	struct flow *f = r->flow;
	struct fake_seen *seen = r->table->seen;
	uint64_t end = m->offset + m->data.len;

	if (f->cuts) {
		f->cuts = false;
		fake_agent_cut(r->table->agent);
		return;
	}
	if (m->offset > f->in)
		seen->rules_broken = "stdin was left out";
	for (size_t i = 0; i < m->data.len; i++)
		if (m->data.data[i] != fake_pattern(m->offset + i))
			seen->rules_broken = "stdin is not the pattern";
	if (f->in_ended && end > f->in)
		seen->rules_broken = "stdin after its end";
	if (end > f->in) {
		seen->stdin_bytes += end - f->in;
		f->in = end;
	}
	f->in_ended = f->in_ended || m->eof;
	seen->stdin_eof = f->in_ended;
	fake_say_ack(r->call, f->in, false);
	flow_writable(r);
}

static void take_ack(struct flow_run *r, const Telex__V1__OutputAck *m)
{
	int stream = (int)m->stream;

	if (m->offset < r->acked[stream] || m->offset > r->sent[stream])
		r->table->seen->rules_broken = "an acknowledgement of what was not sent";
	r->acked[stream] = m->offset;
	r->table->seen->acked[stream] = m->offset;
	r->table->seen->acks++;
}

static void take_exit_ack(struct flow_run *r)
{
	r->table->seen->exit_acks++;
	if (!r->exited || !r->promised)
		r->table->seen->rules_broken = "ExitAck before the exit";
	forget(r->table, r->flow);
	rpc_finish(r->call, NULL);
}

void flow_message(struct flow_run *r, const Telex__V1__RunRequest *m)
{
	struct fake_seen *seen = r->table->seen;

	if (r->flow == NULL)
		return;
	switch (m->request_case) {
	case TELEX__V1__RUN_REQUEST__REQUEST_STDIN:
		take_stdin(r, m->stdin);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_ACK:
		take_ack(r, m->ack);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_EXIT_ACK:
		take_exit_ack(r);
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL:
		seen->signo = (int)m->signal->signal;
		seen->signals++;
		break;
	case TELEX__V1__RUN_REQUEST__REQUEST_RESIZE:
		seen->rows = m->resize->size->rows;
		seen->columns = m->resize->size->columns;
		seen->resizes++;
		break;
	default:
		abort();
	}
}

void flow_closed(struct flow_run *r)
{
	if (r->flow != NULL)
		r->flow->run = NULL;
	free(r);
}

/* ---- what the test wants ---- */

static void go_on(struct flow_table *t)
{
	struct flow *f, *next;

	for (f = TAILQ_FIRST(&t->flows); f != NULL; f = next) {
		next = TAILQ_NEXT(f, entry);
		if (f->run != NULL)
			flow_writable(f->run);
	}
}

void flow_hold(struct flow_table *t, bool hold)
{
	t->hold = hold;
	go_on(t);
}

void flow_queue(struct flow_table *t, bool queue)
{
	struct flow *f;

	TAILQ_FOREACH(f, &t->flows, entry)
	if (t->queue && !queue && f->run != NULL)
		fake_say_running(f->run->call);
	t->queue = queue;
	go_on(t);
}

void flow_drop(struct flow_table *t, int stream, uint64_t oldest)
{
	struct flow *f;

	TAILQ_FOREACH(f, &t->flows, entry)
	{
		f->oldest[stream] = oldest;
		if (f->run != NULL && !offset_is_held(f->run, stream)) {
			f->run->flow = NULL;
			f->run = NULL;
		}
	}
}

void flow_end(struct flow_table *t)
{
	struct flow *f;

	TAILQ_FOREACH(f, &t->flows, entry)
	f->ended = true;
	go_on(t);
}
