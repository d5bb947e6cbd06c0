/* SPDX-License-Identifier: Apache-2.0 */
/* The standard health service. A worker serves everything until it drains; then nothing. */
#include <stdlib.h>
#include <string.h>

#include "agent/worker/services.h"
#include "agent/worker/worker.h"
#include "common/mem.h"
#include "grpc/health/v1/health.pb-c.h"

/* A Watch call, on the worker's list until it is closed. */
struct health_watch {
	struct rpc_call *call;
	bool known; /* the service that is watched */
	struct health_watch *next, **link;
};

static bool is_service(const char *name)
{
	if (name[0] == '\0')
		return true;
	for (size_t i = 0; i < SERVICES_COUNT; i++)
		if (strcmp(services_all[i]->name, name) == 0)
			return true;
	return false;
}

static void send_status(struct rpc_call *c, bool known)
{
	const struct worker *w = rpc_call_context(c);
	Grpc__Health__V1__HealthCheckResponse r = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;

	if (!known)
		r.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
	else if (w->draining)
		r.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
	else
		r.status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
	rpc_send(c, &r.base);
}

static void check(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Grpc__Health__V1__HealthCheckRequest *q = (const void *)msg;

	if (!is_service(q->service)) {
		rpc_fail(c, RPC_NOT_FOUND, "NO_SUCH_SERVICE", "there is no such service");
		return;
	}
	send_status(c, true);
	rpc_finish(c, NULL);
}

static void end_watch(struct rpc_call *c)
{
	rpc_fail(c, RPC_UNAVAILABLE, "SHUTTING_DOWN", "this worker is shutting down");
}

static void watch(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Grpc__Health__V1__HealthCheckRequest *q = (const void *)msg;
	struct worker *w = rpc_call_context(c);
	struct health_watch *watch = xcalloc(1, sizeof(*watch));

	watch->call = c;
	watch->known = is_service(q->service);
	watch->next = w->watches;
	watch->link = &w->watches;
	if (watch->next != NULL)
		watch->next->link = &watch->next;
	w->watches = watch;
	rpc_call_set_data(c, watch);
	send_status(c, watch->known);
	if (w->draining)
		end_watch(c);
}

static void watch_closed(struct rpc_call *c)
{
	struct health_watch *watch = rpc_call_data(c);

	if (watch == NULL)
		return;
	*watch->link = watch->next;
	if (watch->next != NULL)
		watch->next->link = watch->link;
	free(watch);
}

void svc_health_draining(struct worker *w)
{
	for (struct health_watch *watch = w->watches; watch != NULL; watch = watch->next) {
		if (watch->known)
			send_status(watch->call, true);
		end_watch(watch->call);
	}
}

static const struct rpc_method methods[] = {
    {
        .name = "Check",
        .request = &grpc__health__v1__health_check_request__descriptor,
        .response = &grpc__health__v1__health_check_response__descriptor,
        .message = check,
    },
    {
        .name = "Watch",
        .request = &grpc__health__v1__health_check_request__descriptor,
        .response = &grpc__health__v1__health_check_response__descriptor,
        .server_stream = true,
        .message = watch,
        .closed = watch_closed,
    },
};

const struct rpc_service svc_health = {"grpc.health.v1.Health", methods, 2};
