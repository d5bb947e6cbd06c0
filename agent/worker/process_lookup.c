/* SPDX-License-Identifier: Apache-2.0 */
/* See process_lookup.h. */
#include "agent/worker/process_lookup.h"

#include <stdio.h>

#include "agent/worker/process_reply.h"

int process_lookup(struct keeper_client *k, const char *id, const char *owner, uint8_t any,
    bool usage, keeper_answer *answer, void *arg, struct keeper_call **out)
{
	struct km_list m = {.one = 1, .usage = usage ? 1 : 0, .any = any};

	snprintf(m.id, sizeof(m.id), "%s", id);
	snprintf(m.owner, sizeof(m.owner), "%s", owner);
	return keeper_call(k, KM_LIST, &m, -1, answer, arg, out);
}

int process_lookup_read(const union km_any *msg, int fd,
    void (*each)(const struct job_record *r, void *arg), void *arg, struct rpc_status *refuse)
{
	struct err e;
	int rc;

	if (msg == NULL) {
		process_reply_gone(refuse);
		return TX_ECLOSED;
	}
	if (msg->hdr.type == KM_REFUSED) {
		process_reply_refused(refuse, &msg->refused);
		return TX_ENOENT;
	}
	if (msg->hdr.type != KM_TABLE) {
		rpc_status_set(refuse, RPC_INTERNAL, "SYSTEM", "the agent gave no table");
		return TX_EPROTO;
	}
	rc = job_records_read(fd, msg->table.bytes, msg->table.count, each, arg, &e);
	if (rc < 0)
		rpc_status_set(refuse, RPC_INTERNAL, "SYSTEM", "the agent's table: %s", e.message);
	return rc;
}
