/* SPDX-License-Identifier: Apache-2.0 */
/* What watch_conn.c (the call) and watch_conn_io.c (its bytes) share; nobody else includes it. */
#ifndef TX_WATCH_CONN_INTERNAL_H
#define TX_WATCH_CONN_INTERNAL_H

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#include "agent/watch/watch_conn.h"
#include "common/files_frame.h"

/* What comes next; OVER: the call has ended, and what comes is passed over. */
enum watch_conn_state { CONN_SETUP, CONN_CALL, CONN_BEGIN, CONN_RUNNING, CONN_OVER };

struct watch_conn_buffer {
	uint8_t *data;
	size_t size, at, end;
};

struct watch_conn {
	struct watch_conns *all;
	int fd;
	enum watch_conn_state state;
	bool broken; /* nothing more can be read or written */
	bool full;   /* the call was told to wait */
	struct watch_conn_buffer in, out;
	const struct roots *roots;
	struct watch_client *client; /* RUNNING */
	bool half_closed;
};

/* Of what has come: a frame that is whole, or false. `body` lives until the next call, and the
 * frame is passed over then. */
bool watch_conn_next(struct watch_conn *c, struct files_frame *head, const uint8_t **body);
/* Reads some, without waiting. */
void watch_conn_read(struct watch_conn *c);
/* A frame, to be written later. */
void watch_conn_put(struct watch_conn *c, uint32_t type, const ProtobufCMessage *m);
void watch_conn_write(struct watch_conn *c);
size_t watch_conn_pending(const struct watch_conn *c);
void watch_conn_clear(struct watch_conn *c); /* the buffers */

#endif
