/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the worker's services: a client that asks one question after the other over a
 * worker_rig. What cannot be set up fails the test.
 */
#ifndef TX_TESTS_SUPPORT_ASKER_H
#define TX_TESTS_SUPPORT_ASKER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/rpc.h"
#include "tests/support/worker_rig.h"

struct asker {
	struct worker_rig rig;
	struct fake_keeper *keeper;
	struct rpc_call *call;
	const ProtobufCMessageDescriptor *type;
	ProtobufCMessage *last; /* the newest response */
	size_t responses;
	bool hold;
	size_t owed;
	bool done;
	struct rpc_status status;
};

/* Of a cmocka test: *state is a struct asker. */
int asker_set_up(void **state);
int asker_tear_down(void **state);

/* Calls service/method; request NULL: nothing is sent yet. What came of the last question is
 * forgotten. */
void asker_ask(struct asker *f, const char *service, const char *method,
    const ProtobufCMessageDescriptor *response, bool stream, const ProtobufCMessage *request);
/* The call has ended with this code and reason; OK: with a response. */
void asker_answered(struct asker *f, int code, const char *reason);

#endif
