/* SPDX-License-Identifier: Apache-2.0 */
/* What PutTree and GetTree share: the engine's messages within the call's. */
#ifndef TX_FILES_TREE_CALL_H
#define TX_FILES_TREE_CALL_H

#include "agent/files/call.h"
#include "common/err.h"
#include "common/tree.h"

struct tree_call {
	struct call *c;
	uint32_t field; /* of the response, that the engine's messages are in */
};

/* tree_emit for a struct that begins with a struct tree_call. */
int tree_call_emit(const struct tree_span *parts, size_t n, void *arg);
/* The path without links of what fd is, or of a name in it (NULL: none). False: it is too long, or
 * it has none. */
bool tree_call_path(char *out, size_t size, int fd, const char *name);
/* How a call ends: rc 0: OK; TX_EPROTO: the client's mistake, by e; TX_ENOMEM; TX_ECLOSED: nobody
 * hears it. */
void tree_call_status(int rc, const struct err *e, struct rpc_status *status);

#endif
