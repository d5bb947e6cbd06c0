/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/process_group.h"

#include <stdbool.h>
#include <stdio.h>

#include "agent/worker/authz.h"
#include "agent/worker/process_call.h"
#include "agent/worker/process_spec.h"
#include "telex/v1/process.pb-c.h"

struct asked {
	struct process_call base;
	char name[KM_ID_SIZE];
};

/* Asks about the group `name`, whose rules are checked here. */
static struct asked *begin(struct rpc_call *c, const char *name)
{
	struct asked *a = process_call_new(c, sizeof(*a));
	struct rpc_status status;

	if (process_group_check(name, &status) < 0) {
		process_call_fail(&a->base, &status);
		return NULL;
	}
	snprintf(a->name, sizeof(a->name), "%s", name);
	return a;
}

static void ask(struct asked *a, struct km_group *m, keeper_answer *answer)
{
	snprintf(m->name, sizeof(m->name), "%s", a->name);
	snprintf(m->by, sizeof(m->by), "%s", process_call_identity(&a->base));
	process_call_ask(&a->base, KM_GROUP, m, -1, answer);
}

/* The reply, or NULL: the call was ended. */
static const struct km_group_reply *take(struct asked *a, const union km_any *msg)
{
	a->base.asked = NULL;
	if (msg != NULL && msg->hdr.type == KM_GROUP_REPLY)
		return &msg->group_reply;
	process_call_refuse(&a->base, msg);
	return NULL;
}

/* False: it was refused. */
static bool take_group(Telex__V1__ProcessGroup *out, struct asked *a, const union km_any *msg)
{
	const struct km_group_reply *r = take(a, msg);

	if (r == NULL)
		return false;
	telex__v1__process_group__init(out);
	out->name = a->name;
	out->maximum = r->maximum;
	out->queued = r->queued;
	out->running = r->running;
	out->ended = r->ended;
	return true;
}

static void on_get_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__GetGroupResponse response = TELEX__V1__GET_GROUP_RESPONSE__INIT;
	Telex__V1__ProcessGroup group;
	struct asked *a = arg;

	(void)fd;
	if (!take_group(&group, a, msg))
		return;
	response.group = &group;
	process_call_answer(&a->base, &response.base);
}

void process_group_get(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__GetGroupRequest *q = (const void *)msg;
	struct km_group m = {.op = KM_GROUP_GET};
	struct asked *a = begin(c, q->name);

	if (a != NULL)
		ask(a, &m, on_get_answer);
}

static void on_signal_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__SignalGroupResponse response = TELEX__V1__SIGNAL_GROUP_RESPONSE__INIT;
	const struct km_group_reply *r = take(arg, msg);
	struct asked *a = arg;

	(void)fd;
	if (r == NULL)
		return;
	response.signalled = r->did[0];
	response.dequeued = r->did[1];
	process_call_answer(&a->base, &response.base);
}

void process_group_signal(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__SignalGroupRequest *q = (const void *)msg;
	struct km_group m = {.op = KM_GROUP_SIGNAL, .signo = q->signal};
	struct policy_request r = {
	    .signal = (int)(q->signal & 0xff), .kill = q->kill_after != NULL};
	struct asked *a = begin(c, q->name);
	struct rpc_status status;

	if (a == NULL)
		return;
	if (process_stop_check(q->signal, q->target, q->kill_after, &m.kill_after_ns, &status) <
	        0 ||
	    authz_process(c, &r, NULL, &status) < 0) {
		process_call_fail(&a->base, &status);
		return;
	}
	m.target = process_signal_target(q->target);
	ask(a, &m, on_signal_answer);
}

static void on_update_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__UpdateGroupResponse response = TELEX__V1__UPDATE_GROUP_RESPONSE__INIT;
	Telex__V1__ProcessGroup group;
	struct asked *a = arg;

	(void)fd;
	if (!take_group(&group, a, msg))
		return;
	response.group = &group;
	process_call_answer(&a->base, &response.base);
}

void process_group_update(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__UpdateGroupRequest *q = (const void *)msg;
	struct km_group m = {.op = KM_GROUP_UPDATE, .maximum = q->maximum};
	struct asked *a = begin(c, q->name);

	if (a != NULL)
		ask(a, &m, on_update_answer);
}

static void on_remove_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__RemoveGroupResponse response = TELEX__V1__REMOVE_GROUP_RESPONSE__INIT;
	const struct km_group_reply *r = take(arg, msg);
	struct asked *a = arg;

	(void)fd;
	if (r == NULL)
		return;
	response.removed = r->did[0];
	process_call_answer(&a->base, &response.base);
}

void process_group_remove(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__RemoveGroupRequest *q = (const void *)msg;
	struct km_group m = {.op = KM_GROUP_REMOVE};
	struct asked *a = begin(c, q->name);

	if (a != NULL)
		ask(a, &m, on_remove_answer);
}
