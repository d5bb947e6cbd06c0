/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/asker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

/* ---- the client ---- */

static void on_response(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	struct asker *f = data;
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t *packed = malloc(len + 1);

	assert_non_null(packed);
	protobuf_c_message_pack(msg, packed);
	if (f->last != NULL)
		protobuf_c_message_free_unpacked(f->last, NULL);
	f->last = protobuf_c_message_unpack(f->type, NULL, len, packed);
	free(packed);
	f->responses++;
	if (f->hold)
		f->owed += rpc_message_size(c);
	else
		rpc_credit(c, rpc_message_size(c));
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct asker *f = data;

	(void)c;
	f->status = *status;
	f->done = true;
}

void asker_ask(struct asker *f, const char *service, const char *method,
    const ProtobufCMessageDescriptor *response, bool stream, const ProtobufCMessage *request)
{
	static const struct rpc_client_ops ops = {
	    .message = on_response, .done = on_done, .manual_credit = true};
	const struct rpc_client_options o = {.authority = "test",
	    .service = service,
	    .method = method,
	    .response = response,
	    .server_stream = stream};

	if (f->last != NULL)
		protobuf_c_message_free_unpacked(f->last, NULL);
	f->last = NULL;
	f->type = response;
	f->responses = 0;
	f->done = false;
	assert_int_equal(
	    rpc_open(&f->call, f->rig.pair.client.conn, f->rig.pair.base, &o, &ops, f), 0);
	if (request == NULL)
		return;
	assert_int_equal(rpc_send(f->call, request), 0);
	rpc_half_close(f->call);
	worker_rig_settle(&f->rig);
}

void asker_answered(struct asker *f, int code, const char *reason)
{
	worker_rig_settle(&f->rig);
	assert_true(f->done);
	assert_int_equal(f->status.code, code);
	assert_string_equal(f->status.reason, reason);
	if (code == RPC_OK)
		assert_true(f->responses > 0);
}

int asker_set_up(void **state)
{
	struct asker *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	f->keeper = f->rig.keeper;
	*state = f;
	return 0;
}

int asker_tear_down(void **state)
{
	struct asker *f = *state;

	worker_rig_free(&f->rig);
	if (f->last != NULL)
		protobuf_c_message_free_unpacked(f->last, NULL);
	free(f);
	return 0;
}
