/* SPDX-License-Identifier: Apache-2.0 */
/* A call's inside, for rpc_call.c (both sides), rpc_server.c and rpc_client.c; nobody else includes
 * it. */
#ifndef TX_COMMON_RPC_CALL_H
#define TX_COMMON_RPC_CALL_H

#include "common/rpc.h"
#include "common/rpc_arena.h"

struct rpc_call {
	struct grpc_call *grpc; /* server: NULL until the request's headers came */
	struct event_base *base;
	void *data;
	struct evbuffer *out; /* large messages are packed here; empty between calls */
	size_t message_size;
	struct rpc_arena arena; /* of the message that is being delivered, or of `request` */

	/* server */
	struct rpc_server *server;
	void *peer;
	const char *path; /* NULL: no such method */
	const struct rpc_method *method;
	const ProtobufCMessage *request; /* of a unary call, held until the client's end */
	size_t request_size;
	bool finished;
	char id[RPC_ID_SIZE];
	bool answered;
	int answer;
	char answer_reason[sizeof(((struct rpc_status *)0)->reason)];

	/* client */
	const struct rpc_client_ops *ops;
	const ProtobufCMessageDescriptor *response;
	bool server_stream, received;
	const char *broken; /* what the server did wrong; NULL: nothing */
};

void rpc_call_free(struct rpc_call *c);

#endif
