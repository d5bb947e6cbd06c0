/* SPDX-License-Identifier: Apache-2.0 */
/* The first message of a call about files: for which user it is, and which paths it is about. */
#ifndef TX_AGENT_WORKER_FILE_REQUEST_H
#define TX_AGENT_WORKER_FILE_REQUEST_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/rpc_status.h"

#define FILE_PATH_MAX 4095

struct file_path {
	ProtobufCBinaryData *field; /* of the message */
	char *path;                 /* absolute and plain; NULL: it waits for the home folder */
	bool read, write, watch;
	bool goes; /* what it names is there no more afterwards */
};

struct file_request {
	const char *user; /* the message's; "": the agent's own */
	struct file_path *paths;
	size_t n_paths;
	bool needs_home;         /* one of them is relative */
	bool carries, exchanges; /* policy.h */
	bool watches;            /* it is for a telex-files that watches */
	/* PutTree: what it becomes where the first path is a folder; NULL: there is no such. */
	const ProtobufCBinaryData *name;
	int64_t heartbeat_ns; /* 0: none */
};

/*
 * Looks through the message of that method ("Stat"), which must be as writable as it is. Each path
 * is made plain, and with `home` (NULL: not known yet) absolute; the message has the new ones then,
 * which live until file_request_clear. 0; or negative, with *status filled. Clear in any case.
 */
int file_request_look(struct file_request *out, const char *method, ProtobufCMessage *m,
    const char *home, struct rpc_status *status);
/* The path of what is below the first one under `name`; NULL: it has none, or that is none.
 * malloc'd.
 */
char *file_request_below(const struct file_request *f);
void file_request_clear(struct file_request *f);

/* "/a//b/./c/" -> "/a/b/c"; "x", "/home/u" -> "/home/u/x". malloc'd; or NULL with *status filled:
 * it is empty, too long, holds a NUL or "..". home NULL: a relative one stays relative. */
char *file_path_plain(const void *bytes, size_t len, const char *home, struct rpc_status *status);

#endif
