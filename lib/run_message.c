/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/run_message.h"

#include <event2/buffer.h>

#include "common/pb_splice.h"
#include "common/rpc.h"
#include "lib/stdin_queue.h"
#include "telex/v1/process.pb-c.h"

#define FIELD_STDIN      3 /* of RunRequest */
#define FIELD_STDIN_DATA 2 /* of StdinChunk */

int run_message_signal(struct rpc_call *rpc, int signo, enum telex_target target)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal sig = TELEX__V1__RUN_SIGNAL__INIT;

	sig.signal = (uint32_t)signo;
	sig.target = (Telex__V1__SignalTarget)target;
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	request.signal = &sig;
	return rpc_send(rpc, &request.base);
}

int run_message_resize(struct rpc_call *rpc, uint16_t rows, uint16_t columns)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__TerminalSize size = TELEX__V1__TERMINAL_SIZE__INIT;
	Telex__V1__Resize resize = TELEX__V1__RESIZE__INIT;

	size.rows = rows;
	size.columns = columns;
	resize.size = &size;
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_RESIZE;
	request.resize = &resize;
	return rpc_send(rpc, &request.base);
}

int run_message_ack(struct rpc_call *rpc, enum telex_stream stream, uint64_t offset)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__OutputAck ack = TELEX__V1__OUTPUT_ACK__INIT;

	ack.stream = (Telex__V1__OutputStream)stream;
	ack.offset = offset;
	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ACK;
	request.ack = &ack;
	return rpc_send(rpc, &request.base);
}

int run_message_exit_ack(struct rpc_call *rpc)
{
	Telex__V1__RunRequest request = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__ExitAck ack = TELEX__V1__EXIT_ACK__INIT;

	request.request_case = TELEX__V1__RUN_REQUEST__REQUEST_EXIT_ACK;
	request.exit_ack = &ack;
	return rpc_send(rpc, &request.base);
}

int run_message_stdin(struct rpc_call *rpc, struct stdin_queue *q, uint64_t base, size_t max,
    bool eof, bool *eof_sent)
{
	Telex__V1__StdinChunk chunk = TELEX__V1__STDIN_CHUNK__INIT;
	struct evbuffer *message = evbuffer_new();
	uint8_t head[PB_SPLICE_HEAD_MAX];
	int n, rc = TX_ENOMEM;

	if (message == NULL)
		return TX_ENOMEM;
	chunk.offset = base + stdin_queue_sent(q);
	n = stdin_queue_take(q, max, message);
	if (n < 0)
		goto out;
	chunk.eof = eof && stdin_queue_unsent(q) == 0;
	rc = pb_splice_head(head, FIELD_STDIN, &chunk.base, FIELD_STDIN_DATA, (size_t)n);
	if (rc < 0)
		goto out;
	if (evbuffer_prepend(message, head, (size_t)rc) < 0) {
		rc = TX_ENOMEM;
		goto out;
	}
	rc = rpc_send_encoded(rpc, message);
	if (rc == 0)
		*eof_sent = chunk.eof;
out:
	evbuffer_free(message);
	return rc;
}
