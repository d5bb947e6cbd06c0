/* SPDX-License-Identifier: Apache-2.0 */
/* The questions of ProcessService about a group. */
#include "common/err.h"
#include "lib/convert.h"
#include "lib/error.h"
#include "lib/question.h"
#include "lib/request.h"
#include "telex/v1/process.pb-c.h"

#define SERVICE "telex.v1.ProcessService"

static int give(const Telex__V1__ProcessGroup *in, const struct question_answer *to, void *arg)
{
	struct telex_group group;

	if (in == NULL)
		return TX_EPROTO;
	convert_group(&group, in);
	if (to->group != NULL)
		to->group(&group, arg);
	return 0;
}

static int get_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	return give(((const Telex__V1__GetGroupResponse *)msg)->group, to, arg);
}

static int update_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	return give(((const Telex__V1__UpdateGroupResponse *)msg)->group, to, arg);
}

static int wait_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__WaitGroupResponse *r = (const void *)msg;
	struct convert_process p;

	/* A heartbeat, or what a later agent has. */
	if (r->response_case != TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_ENDED)
		return 0;
	if (convert_process(&p, r->ended) < 0)
		return TX_ENOMEM;
	if (to->process != NULL)
		to->process(&p.process, arg);
	convert_process_free(&p);
	return 0;
}

static const char *wait_name(const ProtobufCMessage *msg)
{
	const Telex__V1__WaitGroupResponse *r = (const void *)msg;

	return r->response_case == TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_ENDED
	           ? r->ended->process_id
	           : NULL;
}

static int signal_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__SignalGroupResponse *r = (const void *)msg;

	if (to->group_signal != NULL)
		to->group_signal(r->signalled, r->dequeued, arg);
	return 0;
}

static int remove_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	if (to->group_remove != NULL)
		to->group_remove(((const Telex__V1__RemoveGroupResponse *)msg)->removed, arg);
	return 0;
}

static const struct question_kind get_kind = {
    .method = {SERVICE, "GetGroup", &telex__v1__get_group_response__descriptor, false, 0},
    .again = true,
    .answer = get_answer,
};
static const struct question_kind wait_kind = {
    .method = {SERVICE, "WaitGroup", &telex__v1__wait_group_response__descriptor, true, 0},
    .waits = true,
    .heartbeats = true,
    .answer = wait_answer,
    .name = wait_name,
};
static const struct question_kind signal_kind = {
    .method = {SERVICE, "SignalGroup", &telex__v1__signal_group_response__descriptor, false, 0},
    .answer = signal_answer,
};
static const struct question_kind update_kind = {
    .method = {SERVICE, "UpdateGroup", &telex__v1__update_group_response__descriptor, false, 0},
    .again = true,
    .answer = update_answer,
};
static const struct question_kind remove_kind = {
    .method = {SERVICE, "RemoveGroup", &telex__v1__remove_group_response__descriptor, false, 0},
    .answer = remove_answer,
};

int telex_group_get(struct telex_client *client, const char *name, int64_t timeout_ms,
    void (*each)(const struct telex_group *group, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__GetGroupRequest request = TELEX__V1__GET_GROUP_REQUEST__INIT;
	const struct question_answer to = {.group = each};

	if (request_check_id("group's name", name, error) < 0)
		return -1;
	request.name = request_text(name);
	return question_ask(client, &get_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_group_wait(struct telex_client *client, const char *name, int64_t timeout_ms,
    void (*each)(const struct telex_process *process, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__WaitGroupRequest request = TELEX__V1__WAIT_GROUP_REQUEST__INIT;
	Google__Protobuf__Duration heartbeat;
	const struct question_answer to = {.process = each};

	if (request_check_id("group's name", name, error) < 0)
		return -1;
	request.name = request_text(name);
	request.heartbeat_interval = request_duration(&heartbeat, client->heartbeat_ms);
	return question_ask(client, &wait_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_group_signal(struct telex_client *client, const char *name,
    const struct telex_signal_options *o, int64_t timeout_ms,
    void (*each)(uint32_t signalled, uint32_t dequeued, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__SignalGroupRequest request = TELEX__V1__SIGNAL_GROUP_REQUEST__INIT;
	Google__Protobuf__Duration kill_after;
	const struct question_answer to = {.group_signal = each};

	if (request_check_id("group's name", name, error) < 0 ||
	    request_check_sending(o, error) < 0)
		return -1;
	if (o->has_value)
		return error_set(error, TELEX_ERROR_USAGE, "a group's signal cannot carry a value");
	request.name = request_text(name);
	request.signal = (uint32_t)o->signo;
	request.target = (Telex__V1__SignalTarget)o->target;
	if (o->kills)
		request.kill_after = request_duration(&kill_after, o->kill_after_ms);
	return question_ask(client, &signal_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_group_set_maximum(struct telex_client *client, const char *name, uint32_t maximum,
    int64_t timeout_ms, void (*each)(const struct telex_group *group, void *arg), telex_done *done,
    void *arg, struct telex_error *error)
{
	Telex__V1__UpdateGroupRequest request = TELEX__V1__UPDATE_GROUP_REQUEST__INIT;
	const struct question_answer to = {.group = each};

	if (request_check_id("group's name", name, error) < 0)
		return -1;
	request.name = request_text(name);
	request.maximum = maximum;
	return question_ask(client, &update_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_group_remove(struct telex_client *client, const char *name, int64_t timeout_ms,
    void (*each)(uint32_t removed, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__RemoveGroupRequest request = TELEX__V1__REMOVE_GROUP_REQUEST__INIT;
	const struct question_answer to = {.group_remove = each};

	if (request_check_id("group's name", name, error) < 0)
		return -1;
	request.name = request_text(name);
	return question_ask(client, &remove_kind, &request.base, timeout_ms, &to, done, arg, error);
}
