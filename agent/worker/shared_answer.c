/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/shared_answer.h"

#include <event2/buffer.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

struct shared_answer {
	unsigned refs;
	size_t len;
	uint8_t bytes[];
};

void shared_answer_unref(struct shared_answer *a)
{
	if (a != NULL && --a->refs == 0)
		free(a);
}

static void on_sent(const void *data, size_t len, void *arg)
{
	(void)data;
	(void)len;
	shared_answer_unref(arg);
}

static struct shared_answer *pack(const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	struct shared_answer *a = xcalloc(1, sizeof(*a) + len);

	a->refs = 1;
	a->len = protobuf_c_message_pack(msg, a->bytes);
	return a;
}

int shared_answer_send(struct shared_answer **last, struct rpc_call *c, const ProtobufCMessage *msg)
{
	struct shared_answer *a = pack(msg);
	struct evbuffer *encoded = evbuffer_new();
	int rc;

	if (*last != NULL && (*last)->len == a->len &&
	    memcmp((*last)->bytes, a->bytes, a->len) == 0) {
		shared_answer_unref(a);
	} else {
		shared_answer_unref(*last);
		*last = a;
	}
	a = *last;
	a->refs++;
	if (encoded == NULL || evbuffer_add_reference(encoded, a->bytes, a->len, on_sent, a) != 0)
		abort();
	rc = rpc_send_encoded(c, encoded);
	evbuffer_free(encoded);
	return rc;
}
