/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's end of a telex-files's socket: frames (common/files_frame.h) both ways, without
 * waiting.
 *
 * What is sent goes out at once as far as the socket takes it; the rest waits here, so that whoever
 * sends much gives credit for what `sent` tells and no more. No callback comes from inside a call
 * into this module.
 */
#ifndef TX_AGENT_WORKER_FILE_LINK_H
#define TX_AGENT_WORKER_FILE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc_status.h"
#include "telex/internal/v1/files.pb-c.h"

struct evbuffer;
struct event_base;
struct file_link;

struct file_link_ops {
	/* A response; what is left of it afterwards is thrown away. */
	void (*message)(struct evbuffer *msg, void *arg);
	void (*ready)(const Telex__Internal__V1__FilesReady *m, void *arg);
	void (*status)(const Telex__Internal__V1__FilesStatus *m, void *arg);
	/* The socket took so many bytes of messages that had waited. */
	void (*sent)(size_t n, void *arg);
	/* Nothing waits any more. */
	void (*drained)(void *arg);
	/* The other side is gone, or broke the contract. The last. */
	void (*lost)(void *arg);
};

/* Takes fd. Aborts on out of memory. */
struct file_link *file_link_new(
    struct event_base *base, int fd, const struct file_link_ops *ops, void *arg);
/* Closes. From any of its callbacks, too. NULL is allowed. */
void file_link_free(struct file_link *l);

/* A frame. How many bytes of its body the socket has taken by now; `sent` tells of the others,
 * where it is a FILES_MESSAGE. */
size_t file_link_send(struct file_link *l, uint32_t type, const void *body, size_t len);
/* Frames that are put together already; none of them is a message that `sent` would tell of. */
void file_link_send_buffer(struct file_link *l, struct evbuffer *frames);
/* Appends a frame to a buffer. */
void file_link_frame(struct evbuffer *out, uint32_t type, const void *body, size_t len);
bool file_link_is_drained(const struct file_link *l);
/* How a call ended, as telex-files says. */
void file_link_status(struct rpc_status *out, const Telex__Internal__V1__FilesStatus *m);
/* No more messages, until it is called with false. */
void file_link_pause(struct file_link *l, bool pause);

#endif
