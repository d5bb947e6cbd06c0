/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_acts.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/h2.h"
#include "common/rpc.h"
#include "tests/support/fake_say.h"

#define GEN_CHUNK 65536

struct act {
	const char *name;
	void (*start)(struct act_run *r);
	void (*input)(struct act_run *r, const Telex__V1__StdinChunk *chunk);
	void (*signal)(struct act_run *r, int signo);
};

struct act_run {
	struct fake_agent *agent;
	struct rpc_call *call;
	const struct act *act;
	char arg[3][64]; /* argv[1..3] */
	uint64_t offset[3];
	uint64_t in, gen_left;
};

/* ---- what a run may say ---- */

static void say_started(struct act_run *r, bool created, uint64_t stdin_offset)
{
	const struct fake_started s = {.created = created, .stdin_offset = stdin_offset};

	fake_say_started(r->call, &s);
}

static void say_at(
    struct act_run *r, int stream, uint64_t offset, const void *data, size_t len, bool eof)
{
	fake_say_output(r->call, stream, offset, data, len, eof);
}

static void say_output(struct act_run *r, int stream, const void *data, size_t len, bool eof)
{
	say_at(r, stream, r->offset[stream], data, len, eof);
	r->offset[stream] += len;
}

static void say_ack(struct act_run *r, uint64_t offset, bool closed)
{
	fake_say_ack(r->call, offset, closed);
}

static void say_exit(struct act_run *r, int code, int signo)
{
	fake_say_exit(r->call, code, signo, r->offset[1], r->offset[2]);
	rpc_finish(r->call, NULL);
}

static void say_ends(struct act_run *r, int code)
{
	say_output(r, 1, "", 0, true);
	say_output(r, 2, "", 0, true);
	say_exit(r, code, 0);
}

/* ---- the acts ---- */

static void act_started(struct act_run *r)
{
	say_started(r, true, 0);
}

static void act_exit(struct act_run *r)
{
	act_started(r);
	say_ends(r, atoi(r->arg[0]));
}

static void act_echo(struct act_run *r)
{
	act_started(r);
	say_output(r, 1, r->arg[0], strlen(r->arg[0]), false);
	say_output(r, 2, r->arg[1], strlen(r->arg[1]), false);
	say_ends(r, 0);
}

static void act_twice(struct act_run *r)
{
	act_started(r);
	say_at(r, 1, 0, "abc", 3, false);
	say_at(r, 1, 0, "abc", 3, false);
	say_at(r, 1, 1, "bcde", 4, false);
	say_at(r, 77, 0, "x", 1, false);
	say_at(r, 1, 5, "", 0, false);
	say_at(r, 1, 5, "", 0, true);
	say_at(r, 1, 5, "", 0, true);
	say_exit(r, 0, 0);
}

static void act_gap(struct act_run *r)
{
	act_started(r);
	say_at(r, 1, 5, "abc", 3, false);
}

static void act_again(struct act_run *r)
{
	act_started(r);
	act_started(r);
}

static void act_bad(struct act_run *r)
{
	/* Not a message: this field's length goes beyond the end. */
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	ProtobufCMessageUnknownField f = {
	    .tag = 3, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = 1};
	uint8_t byte[] = {0x7f};

	f.data = byte;
	m.base.n_unknown_fields = 1;
	m.base.unknown_fields = &f;
	if (rpc_send(r->call, &m.base) == TX_ENOMEM)
		abort();
}

static void act_after_eof(struct act_run *r)
{
	act_started(r);
	say_at(r, 1, 0, "abc", 3, true);
	say_at(r, 1, 3, "d", 1, false);
}

static void act_after_exit(struct act_run *r)
{
	act_started(r);
	say_at(r, 1, 0, "abc", 3, false);
	fake_say_exit(r->call, 0, 0, 3, 0);
	say_at(r, 1, 3, "d", 1, false);
}

static void act_far(struct act_run *r)
{
	act_started(r);
	say_at(r, 1, UINT64_MAX - 1, "abc", 3, false);
}

/* Few bytes that would be very many in memory: fields that nobody knows. */
static void act_swollen(struct act_run *r)
{
	static const ProtobufCMessageUnknownField field = {
	    .tag = 15, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1};
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	const size_t n = 1000000;
	uint8_t zero = 0;

	m.base.unknown_fields = calloc(n, sizeof(field));
	if (m.base.unknown_fields == NULL)
		abort();
	m.base.n_unknown_fields = (unsigned)n;
	for (size_t i = 0; i < n; i++) {
		m.base.unknown_fields[i] = field;
		m.base.unknown_fields[i].data = &zero;
	}
	if (rpc_send(r->call, &m.base) == TX_ENOMEM)
		abort();
	free(m.base.unknown_fields);
}

/* Another has given it 1000 bytes, and had them back. */
static void act_fed(struct act_run *r)
{
	r->in = r->offset[1] = 1000;
	say_started(r, false, 1000);
}

static void act_found(struct act_run *r)
{
	say_started(r, false, 1000);
}

static void act_fail(struct act_run *r)
{
	struct rpc_status s;

	rpc_status_set(&s, RPC_NOT_FOUND, "START_FAILED", "cannot run \"nope\": no such file");
	rpc_status_meta(&s, "stage", "exec");
	rpc_status_meta(&s, "errno", "%d", ENOENT);
	rpc_finish(r->call, &s);
}

static void act_status(struct act_run *r)
{
	rpc_fail(r->call, atoi(r->arg[0]), r->arg[1][0] != '\0' ? r->arg[1] : NULL, "said so");
}

static void act_ok(struct act_run *r)
{
	act_started(r);
	rpc_finish(r->call, NULL);
}

static void act_nothing(struct act_run *r)
{
	(void)r;
}

static void act_cut(struct act_run *r)
{
	act_started(r);
	say_output(r, 1, "some", 4, false);
}

static void act_gen_die(struct act_run *r)
{
	act_started(r);
	say_output(r, 1, "some", 4, false);
	say_exit(r, 0, SIGTERM);
}

static void act_drain(struct act_run *r)
{
	act_started(r);
	fake_agent_drain(r->agent);
}

static void gen_more(struct act_run *r)
{
	uint8_t data[GEN_CHUNK];

	while (r->gen_left > 0 && rpc_pending(r->call) < H2_SEND_HIGH) {
		size_t n = r->gen_left < GEN_CHUNK ? (size_t)r->gen_left : GEN_CHUNK;

		for (size_t i = 0; i < n; i++)
			data[i] = fake_pattern(r->offset[1] + i);
		r->gen_left -= n;
		say_output(r, 1, data, n, false);
		if (r->gen_left == 0)
			say_ends(r, 0);
	}
}

static void act_gen(struct act_run *r)
{
	act_started(r);
	r->gen_left = strtoull(r->arg[0], NULL, 10);
	gen_more(r);
}

static void closes_stdin(struct act_run *r, const Telex__V1__StdinChunk *chunk)
{
	(void)chunk;
	say_ack(r, r->in, true);
}

static void cat_input(struct act_run *r, const Telex__V1__StdinChunk *chunk)
{
	if (chunk->data.len > 0)
		say_output(r, 1, chunk->data.data, chunk->data.len, false);
	say_ack(r, r->in, false);
	if (chunk->eof)
		say_ends(r, 0);
}

static void ignores_input(struct act_run *r, const Telex__V1__StdinChunk *chunk)
{
	(void)r;
	(void)chunk;
}

/* Acknowledged by fake_agent_ack; the end acknowledges itself. */
static void hold_input(struct act_run *r, const Telex__V1__StdinChunk *chunk)
{
	if (!chunk->eof)
		return;
	say_ack(r, r->in, false);
	say_ends(r, 0);
}

static void dies_of_it(struct act_run *r, int signo)
{
	say_exit(r, 0, signo);
}

static void ignores_it(struct act_run *r, int signo)
{
	(void)r;
	(void)signo;
}

static const struct act acts[] = {
    {"exit", act_exit, ignores_input, ignores_it},
    {"echo", act_echo, ignores_input, ignores_it},
    {"twice", act_twice, ignores_input, ignores_it},
    {"gap", act_gap, ignores_input, ignores_it},
    {"again", act_again, ignores_input, ignores_it},
    {"bad", act_bad, ignores_input, ignores_it},
    {"after-eof", act_after_eof, ignores_input, ignores_it},
    {"after-exit", act_after_exit, ignores_input, ignores_it},
    {"far", act_far, ignores_input, ignores_it},
    {"swollen", act_swollen, ignores_input, ignores_it},
    {"fed", act_fed, cat_input, ignores_it},
    {"found", act_found, cat_input, ignores_it},
    {"fail", act_fail, ignores_input, ignores_it},
    {"status", act_status, ignores_input, ignores_it},
    {"ok", act_ok, ignores_input, ignores_it},
    {"mute", act_nothing, ignores_input, ignores_it},
    {"cut", act_cut, ignores_input, ignores_it},
    {"drain", act_drain, cat_input, ignores_it},
    {"gen-die", act_gen_die, ignores_input, ignores_it},
    {"gen", act_gen, ignores_input, ignores_it},
    {"cat", act_started, cat_input, dies_of_it},
    {"hold", act_started, hold_input, ignores_it},
    {"close", act_started, closes_stdin, dies_of_it},
    {"sleep", act_started, ignores_input, dies_of_it},
};

/* ---- what is asked of them ---- */

struct act_run *act_start(
    struct fake_agent *agent, struct rpc_call *c, const Telex__V1__RunStart *m)
{
	const Telex__V1__ProcessSpec *spec = m->spec;
	struct fake_seen *seen = fake_agent_seen(agent);
	struct act_run *r = calloc(1, sizeof(*r));

	if (r == NULL)
		abort();
	r->agent = agent;
	r->call = c;
	snprintf(seen->process_id, sizeof(seen->process_id), "%s", m->process_id);
	for (size_t i = 1; i < spec->n_argv && i < 4; i++)
		snprintf(r->arg[i - 1], sizeof(r->arg[0]), "%.*s", (int)spec->argv[i].len,
		    (const char *)spec->argv[i].data);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (strlen(acts[i].name) == spec->argv[0].len &&
		    memcmp(acts[i].name, spec->argv[0].data, spec->argv[0].len) == 0)
			r->act = &acts[i];
	if (r->act == NULL)
		abort();
	r->act->start(r);
	return r;
}

void act_input(struct act_run *r, const Telex__V1__StdinChunk *m)
{
	struct fake_seen *seen = fake_agent_seen(r->agent);

	seen->stdin_wrong = seen->stdin_wrong || m->offset != r->in || seen->stdin_eof;
	for (size_t i = 0; i < m->data.len; i++)
		if (m->data.data[i] != fake_pattern(m->offset + i))
			seen->stdin_wrong = true;
	r->in += m->data.len;
	seen->stdin_bytes += m->data.len;
	seen->stdin_chunks++;
	seen->stdin_eof = m->eof;
	r->act->input(r, m);
}

void act_signal(struct act_run *r, int signo)
{
	r->act->signal(r, signo);
}

void act_writable(struct act_run *r)
{
	gen_more(r);
}

void act_ack(struct act_run *r)
{
	if (strcmp(r->act->name, "hold") == 0)
		say_ack(r, r->in, false);
}

void act_closed(struct act_run *r)
{
	free(r);
}
