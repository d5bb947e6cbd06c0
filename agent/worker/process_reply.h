/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's answers as the API says them: refusals as statuses, records and endings as messages.
 */
#ifndef TX_AGENT_WORKER_PROCESS_REPLY_H
#define TX_AGENT_WORKER_PROCESS_REPLY_H

#include "common/job_record.h"
#include "common/keeper_msg.h"
#include "common/rpc_status.h"
#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "telex/v1/process.pb-c.h"

/* Fills *out (as the comments in process.proto say) for what the keeper refused. */
void process_reply_refused(struct rpc_status *out, const struct km_refused *why);

/* The same for a request that could not be sent (TX_ELIMIT, TX_ECLOSED, …) and for the keeper's
 * death. */
void process_reply_link(struct rpc_status *out, int code);
void process_reply_gone(struct rpc_status *out);

/* An Exit with all that it points to. Read it by `exit`; do not copy the struct. `how` must live as
 * long. */
struct process_exit {
	Telex__V1__Exit exit;
	Telex__V1__SignalDeath signal;
	Telex__V1__UnknownEnding unknown;
	Telex__V1__NotStarted not_started;
	Google__Protobuf__Timestamp start, end;
	Telex__V1__ResourceUsage usage;
	Google__Protobuf__Duration user, system;
	Telex__V1__OutputStream open[2];
	char name[24];
};
void process_reply_exit(struct process_exit *out, const struct km_exit *how);

/* A Process with all that it points to; as above. `argv` is allocated: process_reply_process_clear.
 */
struct process_message {
	Telex__V1__Process process;
	Google__Protobuf__Timestamp start, expire;
	Telex__V1__DisconnectPolicy disconnect;
	Google__Protobuf__Duration disconnect_wait;
	Telex__V1__OutputRange ranges[2];
	Telex__V1__LiveUsage usage;
	Google__Protobuf__Duration cpu;
	struct process_exit exit;
};
void process_reply_process(struct process_message *out, const struct job_record *r);
void process_reply_process_clear(struct process_message *m);

void process_reply_time(Google__Protobuf__Timestamp *out, int64_t ns); /* since the epoch */

#endif
