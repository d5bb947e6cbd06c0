/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_questions.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telex/v1/process.pb-c.h"
#include "tests/support/fake_agent.h"
#include "tests/support/fake_say.h"

void fake_fill_process(void *process, const char *id)
{
	static char owner[] = "spiffe://test.internal/user/alice";
	static uint8_t sh[] = "sh", option[] = "-c";
	static ProtobufCBinaryData argv[] = {{2, sh}, {2, option}};
	Telex__V1__Process *p = process;

	telex__v1__process__init(p);
	p->process_id = fake_text(id);
	p->owner = owner;
	p->state = TELEX__V1__PROCESS_STATE__PROCESS_STATE_RUNNING;
	p->pid = FAKE_PID;
	p->n_argv = 2;
	p->argv = argv;
}

static struct fake_seen *note(struct rpc_call *c, const char *method, const char *name)
{
	struct fake_seen *seen = fake_agent_seen(rpc_call_context(c));

	seen->questions++;
	snprintf(seen->asked, sizeof(seen->asked), "%s %s", method, name);
	return seen;
}

static void answer(struct rpc_call *c, const ProtobufCMessage *m)
{
	rpc_send(c, m);
	rpc_finish(c, NULL);
}

/* ---- processes ---- */

static void list_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ListRequest *m = (const Telex__V1__ListRequest *)msg;
	static char ids[][3] = {"p1", "p2", "p3"};
	Telex__V1__Process p;

	for (size_t i = 0; i < (m->include_ended ? 3 : 2); i++) {
		Telex__V1__ListResponse out = TELEX__V1__LIST_RESPONSE__INIT;

		fake_fill_process(&p, ids[i]);
		out.item_case = TELEX__V1__LIST_RESPONSE__ITEM_PROCESS;
		out.process = &p;
		rpc_send(c, &out.base);
	}
	rpc_finish(c, NULL);
}

static void get_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__GetRequest *m = (const Telex__V1__GetRequest *)msg;
	Telex__V1__GetResponse out = TELEX__V1__GET_RESPONSE__INIT;
	Telex__V1__Process p;

	if (strcmp(m->process_id, "mute") == 0)
		return;
	if (strcmp(m->process_id, "p1") != 0 && strcmp(m->process_id, "empty") != 0) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_PROCESS", "there is no process \"%s\"",
		    m->process_id);
		return;
	}
	fake_fill_process(&p, m->process_id);
	if (strcmp(m->process_id, "p1") == 0)
		out.process = &p;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

/* READ_LEN bytes of the pattern of each output from the offset on; of "gone" they are dropped, and
 * of "wild" the answer is no message. */
#define READ_LEN   1000000
#define READ_PIECE 100000

static void read_send(struct rpc_call *c, int stream, uint64_t offset)
{
	static uint8_t data[READ_PIECE];
	Telex__V1__ReadOutputResponse out = TELEX__V1__READ_OUTPUT_RESPONSE__INIT;
	Telex__V1__Output piece = TELEX__V1__OUTPUT__INIT;

	out.response_case = TELEX__V1__READ_OUTPUT_RESPONSE__RESPONSE_OUTPUT;
	out.output = &piece;
	piece.stream = (Telex__V1__OutputStream)stream;
	if (offset == UINT64_MAX)
		offset = 0; /* the oldest */
	while (offset < READ_LEN) {
		size_t n = READ_LEN - offset < READ_PIECE ? READ_LEN - offset : READ_PIECE;

		for (size_t i = 0; i < n; i++)
			data[i] = fake_pattern(offset + i);
		piece.offset = offset;
		piece.data = (ProtobufCBinaryData){n, data};
		rpc_send(c, &out.base);
		offset += n;
	}
}

static void read_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ReadOutputRequest *m = (const Telex__V1__ReadOutputRequest *)msg;
	static uint8_t wild[] = {0xff, 0xff};
	struct evbuffer *message;

	if (strcmp(m->process_id, "wild") == 0) {
		message = evbuffer_new();
		if (message == NULL)
			abort();
		evbuffer_add(message, wild, sizeof(wild));
		rpc_send_encoded(c, message);
		evbuffer_free(message);
		return;
	}
	if (strcmp(m->process_id, "gone") == 0) {
		rpc_fail(c, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", "offset 0 is no longer held");
		return;
	}
	if (strcmp(m->process_id, "later") == 0 &&
	    !fake_agent_seen(rpc_call_context(c))->released) {
		note(c, "read", m->from != NULL ? "from" : "oldest");
		read_send(c, 1, m->from != NULL ? m->from->stdout_offset : READ_LEN - 1000);
		return;
	}
	if (m->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR)
		read_send(c, 1, m->from != NULL ? m->from->stdout_offset : 0);
	if (m->stream != TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT)
		read_send(c, 2, m->from != NULL ? m->from->stderr_offset : 0);
	rpc_finish(c, NULL);
}

static void signal_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__SignalRequest *m = (const Telex__V1__SignalRequest *)msg;
	struct fake_seen *seen = fake_agent_seen(rpc_call_context(c));
	Telex__V1__SignalResponse out = TELEX__V1__SIGNAL_RESPONSE__INIT;

	seen->signo = (int)m->signal;
	seen->process_only = m->target == TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	rpc_send(c, &out.base);
	rpc_finish(c, NULL);
}

static void start_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__StartRequest *m = (const void *)msg;
	Telex__V1__StartResponse out = TELEX__V1__START_RESPONSE__INIT;
	Telex__V1__Process p;

	note(c, "start", m->process_id);
	fake_fill_process(&p, m->process_id);
	out.process = &p;
	out.created = true;
	answer(c, &out.base);
}

static void wait_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__WaitRequest *m = (const void *)msg;
	Telex__V1__WaitResponse out = TELEX__V1__WAIT_RESPONSE__INIT;
	Telex__V1__Exit e = TELEX__V1__EXIT__INIT;
	struct fake_seen *seen = note(c, m->forget ? "wait-forget" : "wait", m->process_id);

	if (strcmp(m->process_id, "later") == 0 && !seen->released)
		return;
	e.status_case = TELEX__V1__EXIT__STATUS_CODE;
	e.code = 7;
	if (strcmp(m->process_id, "empty") != 0)
		out.exit = &e;
	answer(c, &out.base);
}

static void remove_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__RemoveRequest *m = (const void *)msg;
	Telex__V1__RemoveResponse out = TELEX__V1__REMOVE_RESPONSE__INIT;
	struct fake_seen *seen = note(c, "remove", m->process_id);

	if (strcmp(m->process_id, "shut") == 0 && seen->questions % 3 != 0)
		rpc_fail(c, RPC_UNAVAILABLE, "SHUTTING_DOWN", "another takes over");
	else if (strcmp(m->process_id, "gone") == 0)
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_PROCESS", "there is none");
	else if (strcmp(m->process_id, "later") != 0 || seen->released)
		answer(c, &out.base);
}

static void update_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__UpdateRequest *m = (const void *)msg;
	Telex__V1__UpdateResponse out = TELEX__V1__UPDATE_RESPONSE__INIT;
	char text[96];

	snprintf(text, sizeof(text), "%s limits=%zu nice=%d memory=%llu", m->process_id,
	    m->n_limits, m->nice != NULL ? (int)m->nice->nice : 99,
	    m->control_limits != NULL ? (unsigned long long)m->control_limits->memory_bytes : 0);
	note(c, "update", text);
	answer(c, &out.base);
}

static void input_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__WriteInputRequest *m = (const void *)msg;
	Telex__V1__WriteInputResponse out = TELEX__V1__WRITE_INPUT_RESPONSE__INIT;

	note(c, "input", m->process_id);
	out.offset = m->offset + m->data.len;
	out.closed = m->eof;
	answer(c, &out.base);
}

/* ---- groups ---- */

static void fill_group(Telex__V1__ProcessGroup *g, const char *name, uint32_t maximum)
{
	telex__v1__process_group__init(g);
	g->name = fake_text(name);
	g->maximum = maximum;
	g->queued = 1;
	g->running = 2;
	g->ended = 3;
}

static void group_get_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__GetGroupRequest *m = (const void *)msg;
	Telex__V1__GetGroupResponse out = TELEX__V1__GET_GROUP_RESPONSE__INIT;
	Telex__V1__ProcessGroup g;

	note(c, "group", m->name);
	fill_group(&g, m->name, 4);
	if (strcmp(m->name, "empty") != 0)
		out.group = &g;
	answer(c, &out.base);
}

static void say_ended(struct rpc_call *c, const char *id)
{
	Telex__V1__WaitGroupResponse out = TELEX__V1__WAIT_GROUP_RESPONSE__INIT;
	Telex__V1__Process p;

	fake_fill_process(&p, id);
	out.response_case = TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_ENDED;
	out.ended = &p;
	rpc_send(c, &out.base);
}

/* p1 has ended; p2 ends once that is released. */
static void group_wait_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__WaitGroupRequest *m = (const void *)msg;
	Telex__V1__WaitGroupResponse beat = TELEX__V1__WAIT_GROUP_RESPONSE__INIT;
	Telex__V1__Heartbeat h = TELEX__V1__HEARTBEAT__INIT;
	struct fake_seen *seen = note(c, "group-wait", m->name);

	beat.response_case = TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_HEARTBEAT;
	beat.heartbeat = &h;
	rpc_send(c, &beat.base);
	say_ended(c, "p1");
	if (strcmp(m->name, "later") == 0 && !seen->released)
		return;
	say_ended(c, "p2");
	rpc_finish(c, NULL);
}

static void group_signal_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__SignalGroupRequest *m = (const void *)msg;
	Telex__V1__SignalGroupResponse out = TELEX__V1__SIGNAL_GROUP_RESPONSE__INIT;

	note(c, "group-signal", m->name)->signo = (int)m->signal;
	out.signalled = 2;
	out.dequeued = m->kill_after != NULL ? 1 : 0;
	answer(c, &out.base);
}

static void group_update_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__UpdateGroupRequest *m = (const void *)msg;
	Telex__V1__UpdateGroupResponse out = TELEX__V1__UPDATE_GROUP_RESPONSE__INIT;
	Telex__V1__ProcessGroup g;

	note(c, "group-update", m->name);
	fill_group(&g, m->name, m->maximum);
	out.group = &g;
	answer(c, &out.base);
}

static void group_remove_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__RemoveGroupRequest *m = (const void *)msg;
	Telex__V1__RemoveGroupResponse out = TELEX__V1__REMOVE_GROUP_RESPONSE__INIT;

	note(c, "group-remove", m->name);
	out.removed = 5;
	answer(c, &out.base);
}

#define QUESTION(n, type, stream, function)                                                        \
	{                                                                                          \
		.name = (n), .request = &telex__v1__##type##_request__descriptor,                  \
		.response = &telex__v1__##type##_response__descriptor, .server_stream = (stream),  \
		.message = (function)                                                              \
	}

const struct rpc_method fake_questions[] = {
    QUESTION("List", list, true, list_message),
    QUESTION("Get", get, false, get_message),
    QUESTION("ReadOutput", read_output, true, read_message),
    QUESTION("Signal", signal, false, signal_message),
    QUESTION("Start", start, false, start_message),
    QUESTION("Wait", wait, false, wait_message),
    QUESTION("Remove", remove, false, remove_message),
    QUESTION("Update", update, false, update_message),
    QUESTION("WriteInput", write_input, false, input_message),
    QUESTION("GetGroup", get_group, false, group_get_message),
    QUESTION("WaitGroup", wait_group, true, group_wait_message),
    QUESTION("SignalGroup", signal_group, false, group_signal_message),
    QUESTION("UpdateGroup", update_group, false, group_update_message),
    QUESTION("RemoveGroup", remove_group, false, group_remove_message),
};
const size_t n_fake_questions = sizeof(fake_questions) / sizeof(fake_questions[0]);
