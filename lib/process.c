/* SPDX-License-Identifier: Apache-2.0 */
/* The questions of ProcessService about one process, and the list. */
#include "common/err.h"
#include "lib/convert.h"
#include "lib/error.h"
#include "lib/question.h"
#include "lib/request.h"
#include "lib/run_request.h"
#include "lib/spec_request.h"
#include "telex/v1/process.pb-c.h"

#define SERVICE "telex.v1.ProcessService"

static int give(const Telex__V1__Process *in, const struct question_answer *to, void *arg)
{
	struct convert_process p;

	if (in == NULL)
		return TX_EPROTO;
	if (convert_process(&p, in) < 0)
		return TX_ENOMEM;
	if (to->process != NULL)
		to->process(&p.process, arg);
	convert_process_free(&p);
	return 0;
}

static int list_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__ListResponse *r = (const void *)msg;
	struct telex_list_summary summary;

	if (r->item_case == TELEX__V1__LIST_RESPONSE__ITEM_PROCESS)
		return give(r->process, to, arg);
	if (r->item_case != TELEX__V1__LIST_RESPONSE__ITEM_SUMMARY || to->summary == NULL)
		return 0;
	summary.dropped = r->summary->dropped;
	summary.held_maximum = r->summary->held_maximum;
	to->summary(&summary, arg);
	return 0;
}

static int get_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	return give(((const Telex__V1__GetResponse *)msg)->process, to, arg);
}

static int start_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	return give(((const Telex__V1__StartResponse *)msg)->process, to, arg);
}

static int wait_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__WaitResponse *r = (const void *)msg;
	struct telex_exit exit;

	if (r->exit == NULL)
		return TX_EPROTO;
	convert_exit(&exit, r->exit);
	if (to->exit != NULL)
		to->exit(&exit, arg);
	return 0;
}

static int input_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__WriteInputResponse *r = (const void *)msg;

	if (to->input != NULL)
		to->input(r->offset, r->closed, arg);
	return 0;
}

static const struct question_kind list_kind = {
    .method = {SERVICE, "List", &telex__v1__list_response__descriptor, true, 0},
    .again = true,
    .answer = list_answer,
};
static const struct question_kind get_kind = {
    .method = {SERVICE, "Get", &telex__v1__get_response__descriptor, false, 0},
    .again = true,
    .answer = get_answer,
};
static const struct question_kind start_kind = {
    .method = {SERVICE, "Start", &telex__v1__start_response__descriptor, false, 0},
    .again = true,
    .answer = start_answer,
};
static const struct question_kind wait_kind = {
    .method = {SERVICE, "Wait", &telex__v1__wait_response__descriptor, false, 0},
    .waits = true,
    .answer = wait_answer,
};
static const struct question_kind signal_kind = {
    .method = {SERVICE, "Signal", &telex__v1__signal_response__descriptor, false, 0},
    .answer = question_no_answer,
};
static const struct question_kind remove_kind = {
    .method = {SERVICE, "Remove", &telex__v1__remove_response__descriptor, false, 0},
    .answer = question_no_answer,
};
/* What Wait has told, nobody needs: whoever else forgot it is as good. */
static const struct question_kind forget_kind = {
    .method = {SERVICE, "Remove", &telex__v1__remove_response__descriptor, false, 0},
    .again = true,
    .may_be_gone = true,
    .answer = question_no_answer,
};
static const struct question_kind update_kind = {
    .method = {SERVICE, "Update", &telex__v1__update_response__descriptor, false, 0},
    .again = true,
    .answer = question_no_answer,
};
static const struct question_kind input_kind = {
    .method = {SERVICE, "WriteInput", &telex__v1__write_input_response__descriptor, false, 0},
    .again = true,
    .answer = input_answer,
};

int telex_list(struct telex_client *client, const struct telex_filter *filter, int64_t timeout_ms,
    void (*each)(const struct telex_process *process, void *arg),
    void (*summary)(const struct telex_list_summary *summary, void *arg), telex_done *done,
    void *arg, struct telex_error *error)
{
	static const struct telex_filter all = {0};
	Telex__V1__ListRequest request = TELEX__V1__LIST_REQUEST__INIT;
	const struct question_answer to = {.process = each, .summary = summary};

	if (filter == NULL)
		filter = &all;
	request.include_ended = filter->include_ended;
	request.usage = filter->usage;
	if (filter->group != NULL) {
		if (request_check_id("group's name", filter->group, error) < 0)
			return -1;
		request.group = request_text(filter->group);
	}
	return question_ask(client, &list_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_get(struct telex_client *client, const char *process_id, int64_t timeout_ms,
    void (*each)(const struct telex_process *process, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__GetRequest request = TELEX__V1__GET_REQUEST__INIT;
	const struct question_answer to = {.process = each};

	if (request_check_id("process id", process_id, error) < 0)
		return -1;
	request.process_id = request_text(process_id);
	return question_ask(client, &get_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_start(struct telex_client *client, const struct telex_command *command,
    int64_t timeout_ms, void (*each)(const struct telex_process *process, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__StartRequest request = TELEX__V1__START_REQUEST__INIT;
	const struct question_answer to = {.process = each};
	char id[RUN_ID_SIZE];
	struct spec_request spec;
	int rc = -1;

	if (run_request_id(id, command->process_id, error) < 0)
		return -1;
	if (spec_request(&spec, command, error) == 0) {
		request.process_id = id;
		request.spec = &spec.spec;
		rc = question_ask(
		    client, &start_kind, &request.base, timeout_ms, &to, done, arg, error);
	}
	spec_request_free(&spec);
	return rc;
}

int telex_wait(struct telex_client *client, const char *process_id, bool forget, int64_t timeout_ms,
    void (*each)(const struct telex_exit *exit, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__WaitRequest request = TELEX__V1__WAIT_REQUEST__INIT;
	Telex__V1__RemoveRequest removal = TELEX__V1__REMOVE_REQUEST__INIT;
	const struct question_then then = {&forget_kind, &removal.base};
	const struct question_answer to = {.exit = each};

	if (request_check_id("process id", process_id, error) < 0)
		return -1;
	request.process_id = removal.process_id = request_text(process_id);
	return question_ask_both(client, &wait_kind, &request.base, forget ? &then : NULL,
	    timeout_ms, &to, done, arg, error);
}

int telex_signal(struct telex_client *client, const char *process_id,
    const struct telex_signal_options *o, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error)
{
	Google__Protobuf__Duration kill_after;
	Telex__V1__SignalValue value = TELEX__V1__SIGNAL_VALUE__INIT;
	Telex__V1__SignalRequest request = TELEX__V1__SIGNAL_REQUEST__INIT;
	const struct question_answer to = {0};

	if (request_check_id("process id", process_id, error) < 0 ||
	    request_check_sending(o, error) < 0)
		return -1;
	request.process_id = request_text(process_id);
	request.signal = (uint32_t)o->signo;
	request.target = (Telex__V1__SignalTarget)o->target;
	if (o->has_value) {
		value.value = o->value;
		request.value = &value;
		request.target = TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS;
	}
	if (o->kills)
		request.kill_after = request_duration(&kill_after, o->kill_after_ms);
	return question_ask(client, &signal_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_remove(struct telex_client *client, const char *process_id, int64_t timeout_ms,
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__RemoveRequest request = TELEX__V1__REMOVE_REQUEST__INIT;
	const struct question_answer to = {0};

	if (request_check_id("process id", process_id, error) < 0)
		return -1;
	request.process_id = request_text(process_id);
	return question_ask(client, &remove_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_update(struct telex_client *client, const char *process_id, const struct telex_update *u,
    int64_t timeout_ms, telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__UpdateRequest request = TELEX__V1__UPDATE_REQUEST__INIT;
	Telex__V1__ControlLimits control = TELEX__V1__CONTROL_LIMITS__INIT;
	Telex__V1__NiceValue nice = TELEX__V1__NICE_VALUE__INIT;
	const struct question_answer to = {0};
	struct request_limits limits = {0};
	int rc = -1;

	if (request_check_id("process id", process_id, error) < 0 ||
	    request_check_control(u->memory_bytes, u->cpu_millis, error) < 0 ||
	    (u->set_nice && request_check_nice(u->nice, error) < 0))
		return -1;
	request.process_id = request_text(process_id);
	nice.nice = u->nice;
	if (u->set_nice)
		request.nice = &nice;
	control.memory_bytes = u->memory_bytes;
	control.pids = u->max_pids;
	control.cpu_millis = u->cpu_millis;
	if (u->memory_bytes != 0 || u->max_pids != 0 || u->cpu_millis != 0)
		request.control_limits = &control;
	if (u->n_limits == 0 && request.nice == NULL && request.control_limits == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no limit to change was given");
	if (request_limits(&limits, u->limits, u->n_limits, error) == 0) {
		request.n_limits = limits.n;
		request.limits = limits.list;
		rc = question_ask(
		    client, &update_kind, &request.base, timeout_ms, &to, done, arg, error);
	}
	request_limits_free(&limits);
	return rc;
}

int telex_write_input(struct telex_client *client, const char *process_id,
    const struct telex_input *input, int64_t timeout_ms,
    void (*each)(uint64_t offset, bool closed, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__WriteInputRequest request = TELEX__V1__WRITE_INPUT_REQUEST__INIT;
	const struct question_answer to = {.input = each};

	if (request_check_id("process id", process_id, error) < 0)
		return -1;
	if (input->len > REQUEST_INPUT_MAX)
		return error_set(error, TELEX_ERROR_USAGE, "more than 1 MiB for stdin at once");
	request.process_id = request_text(process_id);
	request.offset = input->offset;
	request.data = request_bytes(input->data, input->len);
	request.eof = input->eof;
	return question_ask(client, &input_kind, &request.base, timeout_ms, &to, done, arg, error);
}
