/* SPDX-License-Identifier: Apache-2.0 */
/* A call with one request and answers that go to a function: everything but run. */
#ifndef TX_LIB_QUESTION_H
#define TX_LIB_QUESTION_H

#include <protobuf-c/protobuf-c.h>

#include "lib/client.h"
#include "lib/telex.h"

/* The caller's functions of all questions, as telex.h declares them. */
struct question_answer {
	void (*exit)(const struct telex_exit *exit, void *arg);
	void (*input)(uint64_t offset, bool closed, void *arg);
	void (*group)(const struct telex_group *group, void *arg);
	void (*group_signal)(uint32_t signalled, uint32_t dequeued, void *arg);
	void (*group_remove)(uint32_t removed, void *arg);
	void (*process)(const struct telex_process *process, void *arg);
	void (*summary)(const struct telex_list_summary *summary, void *arg);
	void (*info)(const struct telex_info *info, void *arg);
	void (*serving)(bool serving, void *arg);
	void (*taken)(const struct telex_revocations_taken *taken, void *arg);
	void (*certificate)(const struct telex_certificate *certificate, void *arg);
	void (*revocations)(const char *pem, size_t len, void *arg);
	void (*file)(const struct telex_file *file, void *arg);
	void (*file_entry)(
	    const struct telex_file *file, const struct telex_file_failure *failure, void *arg);
	void (*count)(uint64_t n, void *arg);
	void (*copied)(const struct telex_copied *copied, void *arg);
	void (*link_target)(const char *target, void *arg);
	void (*filesystem)(const struct telex_filesystem *filesystem, void *arg);
	void (*digest)(const void *digest, size_t len, uint64_t bytes, void *arg);
};

/* What a question is; a const table row. */
struct question_kind {
	struct call_method method;
	/*
	 * It may be asked again when the connection is lost: up to three times and before the first
	 * answer; any kind, where the agent says that it has done nothing (SHUTTING_DOWN). One that
	 * waits, for as long as a run tries to come back. timeout_ms 0 is then as long as it takes.
	 */
	bool again, waits;
	/* It may take long: timeout_ms 0 is as long as it takes, and PING asks whether the agent is
	 * there. */
	bool works;
	/* The agent says now and then that it is there; else PING asks whether it is. */
	bool heartbeats;
	/* Gives one answer to the caller. 0, TX_ENOMEM, or TX_EPROTO: something is missing in it.
	 */
	int (*answer)(const ProtobufCMessage *msg, const struct question_answer *to, void *arg);
	/* NOT_FOUND is as good as done. */
	bool may_be_gone;
	/* Of kinds that wait and have many answers: what names one, so that it is given once; NULL:
	 * none. */
	const char *(*name)(const ProtobufCMessage *msg);
};

/* For kinds whose answer is empty. */
int question_no_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg);

/* A question that follows when the first was answered well. */
struct question_then {
	const struct question_kind *kind;
	const ProtobufCMessage *request;
};

/* request is packed before this returns. timeout_ms 0: 30 s, or none. 0, or -1 and *error. */
int question_ask(struct telex_client *client, const struct question_kind *kind,
    const ProtobufCMessage *request, int64_t timeout_ms, const struct question_answer *to,
    telex_done *done, void *arg, struct telex_error *error);
/* The same with a second one, which has 30 s; `done` is its end, or the first one's failure. */
int question_ask_both(struct telex_client *client, const struct question_kind *kind,
    const ProtobufCMessage *request, const struct question_then *then, int64_t timeout_ms,
    const struct question_answer *to, telex_done *done, void *arg, struct telex_error *error);

#endif
