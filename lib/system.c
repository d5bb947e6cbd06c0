/* SPDX-License-Identifier: Apache-2.0 */
/* SystemService and the standard health service. */
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "lib/convert.h"
#include "lib/question.h"
#include "telex/v1/system.pb-c.h"

static int info_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	struct telex_info info;

	convert_info(&info, (const Telex__V1__GetInfoResponse *)msg);
	if (to->info != NULL)
		to->info(&info, arg);
	return 0;
}

static int health_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Grpc__Health__V1__HealthCheckResponse *m =
	    (const Grpc__Health__V1__HealthCheckResponse *)msg;

	if (to->serving != NULL)
		to->serving(
		    m->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
		    arg);
	return 0;
}

static const struct question_kind info_kind = {
    .method = {"telex.v1.SystemService", "GetInfo", &telex__v1__get_info_response__descriptor,
        false, 0},
    .again = true,
    .answer = info_answer,
};
static const struct question_kind health_kind = {
    .method = {"grpc.health.v1.Health", "Check",
        &grpc__health__v1__health_check_response__descriptor, false, 0},
    .again = true,
    .answer = health_answer,
};

int telex_info(struct telex_client *client, int64_t timeout_ms,
    void (*each)(const struct telex_info *info, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__GetInfoRequest request = TELEX__V1__GET_INFO_REQUEST__INIT;
	const struct question_answer to = {.info = each};

	return question_ask(client, &info_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_health(struct telex_client *client, const char *service, int64_t timeout_ms,
    void (*answer)(bool serving, void *arg), telex_done *done, void *arg, struct telex_error *error)
{
	Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	const struct question_answer to = {.serving = answer};

	/* protobuf-c's structs have no const; packing does not write. */
	if (service != NULL)
		memcpy(&request.service, &service, sizeof(service));
	return question_ask(client, &health_kind, &request.base, timeout_ms, &to, done, arg, error);
}
