/* SPDX-License-Identifier: Apache-2.0 */
/* A call with one request and answers that go to a function: everything but run. */
#ifndef TX_LIB_QUESTION_H
#define TX_LIB_QUESTION_H

#include <protobuf-c/protobuf-c.h>

#include "lib/client.h"
#include "lib/telex.h"

/* The caller's functions of all questions, as telex.h declares them. */
struct question_answer {
	void (*process)(const struct telex_process *process, void *arg);
	void (*summary)(const struct telex_list_summary *summary, void *arg);
	void (*info)(const struct telex_info *info, void *arg);
	void (*serving)(bool serving, void *arg);
};

/* What a question is; a const table row. */
struct question_kind {
	struct call_method method;
	/* Gives one answer to the caller. 0, TX_ENOMEM, or TX_EPROTO: something is missing in it.
	 */
	int (*answer)(const ProtobufCMessage *msg, const struct question_answer *to, void *arg);
};

/* request is packed before this returns. timeout_ms 0: 30 s. 0, or -1 and *error. */
int question_ask(struct telex_client *client, const struct question_kind *kind,
    const ProtobufCMessage *request, int64_t timeout_ms, const struct question_answer *to,
    telex_done *done, void *arg, struct telex_error *error);

#endif
