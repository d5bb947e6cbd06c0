/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call, as the functions that serve it see it: its messages, where its paths may lead, and its
 * end. All of it blocks. serve.c implements it over the worker's socket, tests in memory.
 */
#ifndef TX_FILES_CALL_H
#define TX_FILES_CALL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/rpc_status.h"

struct call;
struct roots;

/* The next message, packed; lives until the next call_receive. 1, 0: the client has ended its half;
 * negative: the worker is gone, and the call is over whatever is done (TX_ECLOSED, TX_ENOMEM). */
int call_receive(struct call *c, const uint8_t **msg, size_t *len);
/* Whether call_receive would not have to wait. Before it waits, it flushes. */
bool call_readable(struct call *c);
/* Packs and sends; what is sent may wait a little for more (call_flush). Negative as above. */
int call_send(struct call *c, const ProtobufCMessage *response);
/* The same for a message that is packed already, in parts: large ones are not copied. */
int call_send_parts(struct call *c, const struct iovec *parts, int n);
int call_flush(struct call *c);
/* Whether the worker is gone: to be asked between the steps of what takes long. */
bool call_gone(struct call *c);
/* Where its role lets it go. */
const struct roots *call_roots(const struct call *c);
/* The role's limits; 0: none. */
uint64_t call_max_upload_bytes(const struct call *c);
uint64_t call_max_upload_files(const struct call *c);
/* Parts of uploads that were cut, that may wait in one folder. Always a limit. */
unsigned call_max_unfinished(const struct call *c);
/* For the audit log (FilesStatus.summary). */
void call_summary(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A method: gets the call after its begin; request: the first message, unpacked (of a method whose
 * requests are a stream, too). Returns with *status filled; code OK is success.
 */
typedef void files_method(
    struct call *c, const ProtobufCMessage *request, struct rpc_status *status);

struct files_method_row {
	const char *name;
	const ProtobufCMessageDescriptor *request;
	files_method *run;
};

#endif
