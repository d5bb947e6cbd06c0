/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_say.h"

#include <stdlib.h>
#include <string.h>

#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"

char *fake_text(const char *s)
{
	char *out;

	memcpy(&out, &s, sizeof(s));
	return out;
}

static void say(struct rpc_call *c, Telex__V1__RunResponse *m)
{
	if (rpc_send(c, &m->base) == TX_ENOMEM)
		abort();
}

static Telex__V1__OutputRange *range(
    Telex__V1__OutputRange *out, const struct fake_started *s, int stream)
{
	telex__v1__output_range__init(out);
	out->oldest = s->oldest[stream];
	out->newest = s->newest[stream];
	return out;
}

void fake_say_started(struct rpc_call *c, const struct fake_started *s)
{
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Started started = TELEX__V1__STARTED__INIT;
	Telex__V1__Process p = TELEX__V1__PROCESS__INIT;
	Telex__V1__DisconnectPolicy policy = TELEX__V1__DISCONNECT_POLICY__INIT;
	Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT;
	Telex__V1__OutputRange out, err;

	policy.action = TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_HANGUP;
	wait.seconds = 90;
	policy.wait = &wait;
	p.on_disconnect = &policy;
	p.pid = s->queued ? 0 : FAKE_PID;
	p.state = s->queued ? TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED
	                    : TELEX__V1__PROCESS_STATE__PROCESS_STATE_RUNNING;
	p.terminal = s->terminal;
	p.stdout_range = range(&out, s, 1);
	p.stderr_range = range(&err, s, 2);
	started.process = &p;
	started.created = s->created;
	started.stdin_offset = s->stdin_offset;
	m.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_STARTED;
	m.started = &started;
	say(c, &m);
}

void fake_say_running(struct rpc_call *c)
{
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Running r = TELEX__V1__RUNNING__INIT;

	r.pid = FAKE_PID;
	m.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_RUNNING;
	m.running = &r;
	say(c, &m);
}

void fake_say_output(
    struct rpc_call *c, int stream, uint64_t offset, const void *data, size_t len, bool eof)
{
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Output o = TELEX__V1__OUTPUT__INIT;

	o.stream = (Telex__V1__OutputStream)stream;
	o.offset = offset;
	o.eof = eof;
	o.data.len = len;
	o.data.data = (uint8_t *)fake_text(data);
	m.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_OUTPUT;
	m.output = &o;
	say(c, &m);
}

void fake_say_ack(struct rpc_call *c, uint64_t offset, bool closed)
{
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__StdinAck a = TELEX__V1__STDIN_ACK__INIT;

	a.offset = offset;
	a.closed = closed;
	m.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_STDIN_ACK;
	m.stdin_ack = &a;
	say(c, &m);
}

void fake_say_heartbeat(struct rpc_call *c)
{
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Heartbeat h = TELEX__V1__HEARTBEAT__INIT;

	m.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_HEARTBEAT;
	m.heartbeat = &h;
	say(c, &m);
}

void fake_say_exit(struct rpc_call *c, int code, int signo, uint64_t out, uint64_t err)
{
	Telex__V1__RunResponse m = TELEX__V1__RUN_RESPONSE__INIT;
	Telex__V1__Exit e = TELEX__V1__EXIT__INIT;
	Telex__V1__SignalDeath d = TELEX__V1__SIGNAL_DEATH__INIT;
	char name[] = "SIGTERM", by[] = "spiffe://test.internal/user/bob";

	e.status_case = signo != 0 ? TELEX__V1__EXIT__STATUS_SIGNAL : TELEX__V1__EXIT__STATUS_CODE;
	if (signo != 0)
		e.signal = &d;
	else
		e.code = (uint32_t)code;
	d.number = (uint32_t)signo;
	d.name = name;
	e.reason = signo != 0 ? TELEX__V1__END_REASON__END_REASON_SIGNALLED
	                      : TELEX__V1__END_REASON__END_REASON_EXITED;
	if (signo != 0)
		e.ended_by = by;
	e.stdout_length = out;
	e.stderr_length = err;
	m.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_EXITED;
	m.exited = &e;
	say(c, &m);
}
