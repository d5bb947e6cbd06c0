/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every method of every service with whatever requests, as the worker takes them, with the keeper's
 * answers and what telex-files says. The table of methods is the services' own. Acts, each a byte,
 * whose bits 4 and 5 say which call:
 *
 *     0  opens one: a line with its path, or with anything else for any
 *     1  sends a request, made by its descriptor     2  a part as it is
 *     3  ends our half                               4  cancels
 *     5  lets all go on                              6  the keeper answers
 *     7  the keeper tells                            8  telex-files says something
 *     9  gives credit, and holds it back no more
 */
#include <stdlib.h>
#include <string.h>

#include "agent/worker/services.h"
#include "common/mem.h"
#include "tests/fuzz/answers.h"
#include "tests/fuzz/frames.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"

#define CALLS_MAX 4
#define ACTS_MAX  100

struct call {
	struct grpc_call *grpc; /* NULL: over */
	const struct rpc_method *method;
	size_t held;
};

struct scene {
	struct worker_rig rig;
	struct answers answers;
	struct call calls[CALLS_MAX];
	bool hold;
	unsigned open;
};

/* ---- the client ---- */

static struct scene *scene;

static void on_message(struct grpc_call *g, const uint8_t *msg, size_t len, void *arg)
{
	struct call *c = arg;
	ProtobufCMessage *m = protobuf_c_message_unpack(c->method->response, NULL, len, msg);

	/* What the worker itself makes is what it says; what telex-files makes passes it as it is.
	 */
	fuzz_require(m != NULL || strcmp(c->method->response->package_name, "telex.v1") == 0);
	if (m != NULL)
		protobuf_c_message_free_unpacked(m, NULL);
	if (scene->hold)
		c->held += len;
	else
		grpc_credit(g, len);
}

static void on_done(struct grpc_call *g, const struct rpc_status *status, void *arg)
{
	struct call *c = arg;

	(void)g;
	fuzz_require(status->code >= RPC_OK && status->code <= RPC_UNAUTHENTICATED);
	c->grpc = NULL;
	fuzz_require(scene->open-- > 0);
}

static const struct grpc_ops call_ops = {.on_message = on_message, .on_done = on_done};

/* That of this path, or the nth; *path is the caller's to free. */
static const struct rpc_method *find_method(const char *wanted, char **path)
{
	size_t n = (uint8_t)wanted[0], total = 0;

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < SERVICES_COUNT; i++)
			for (size_t k = 0; k < services_all[i]->n_methods; k++) {
				const struct rpc_method *m = &services_all[i]->methods[k];

				*path = xasprintf("/%s/%s", services_all[i]->name, m->name);
				if (pass == 0 ? strcmp(*path, wanted) == 0 : n-- == 0)
					return m;
				free(*path);
				total += pass == 0;
				n = pass == 0 ? (uint8_t)wanted[0] % total : n;
			}
	abort();
}

static void open_call(struct scene *s, struct fuzz_input *in)
{
	char *wanted = fuzz_text(in, '\n'), *path;
	const struct rpc_method *method = find_method(wanted, &path);
	const struct grpc_client_options o = {.authority = "test", .path = path};

	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct call *c = &s->calls[i];

		if (c->grpc != NULL)
			continue;
		*c = (struct call){.method = method};
		if (grpc_open(
		        &c->grpc, s->rig.pair.client.conn, s->rig.pair.base, &o, &call_ops, c) == 0)
			s->open++;
		break;
	}
	free(path);
	free(wanted);
}

static void send_built(struct call *c, struct fuzz_input *in)
{
	size_t len;
	uint8_t *packed = fuzz_message(in, c->method->request, &len);

	(void)grpc_send(c->grpc, packed, len);
	free(packed);
}

static void send_part(struct call *c, struct fuzz_input *in)
{
	size_t len;
	const uint8_t *part = fuzz_part(in, &len);

	(void)grpc_send(c->grpc, part, len);
}

static void give_credit(struct scene *s)
{
	s->hold = false;
	for (size_t i = 0; i < CALLS_MAX; i++)
		if (s->calls[i].grpc != NULL && s->calls[i].held > 0) {
			grpc_credit(s->calls[i].grpc, s->calls[i].held);
			s->calls[i].held = 0;
		}
}

static void act_on_call(struct call *c, unsigned act, struct fuzz_input *in)
{
	if (c->grpc == NULL)
		return;
	if (act == 1)
		send_built(c, in);
	else if (act == 2)
		send_part(c, in);
	else if (act == 3)
		grpc_half_close(c->grpc);
	else
		grpc_cancel(c->grpc);
}

static void act(struct scene *s, struct fuzz_input *in)
{
	uint8_t byte = fuzz_byte(in);
	unsigned what = (byte & 15u) % 10u;

	switch (what) {
	case 0:
		open_call(s, in);
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		act_on_call(&s->calls[byte >> 4 & 3], what, in);
		break;
	case 5:
		frames_settle(&s->rig.pair);
		break;
	case 6:
		answers_give(&s->answers, in);
		break;
	case 7:
		answers_tell(&s->answers, in);
		break;
	case 8:
		answers_helper(&s->answers, in);
		break;
	default:
		give_credit(s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct scene s;

	fuzz_log_nowhere();
	memset(&s, 0, sizeof(s));
	scene = &s;
	worker_rig_init(&s.rig);
	answers_init(&s.answers, &s.rig);
	s.hold = (fuzz_byte(&in) & 1) != 0;
	for (int i = 0; i < ACTS_MAX && in.left > 0 && s.rig.pair.client.conn != NULL; i++)
		act(&s, &in);
	frames_settle(&s.rig.pair);
	worker_rig_free(&s.rig);
	answers_free(&s.answers);
	fuzz_require(s.open == 0);
	return 0;
}
