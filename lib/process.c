/* SPDX-License-Identifier: Apache-2.0 */
/* ProcessService but for Run: list, get, signal. */
#include <string.h>

#include "common/err.h"
#include "lib/convert.h"
#include "lib/error.h"
#include "lib/question.h"
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

static int signal_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	(void)msg;
	(void)to;
	(void)arg;
	return 0;
}

static const struct question_kind list_kind = {
    .method = {SERVICE, "List", &telex__v1__list_response__descriptor, true},
    .answer = list_answer,
};
static const struct question_kind get_kind = {
    .method = {SERVICE, "Get", &telex__v1__get_response__descriptor, false},
    .answer = get_answer,
};
static const struct question_kind signal_kind = {
    .method = {SERVICE, "Signal", &telex__v1__signal_response__descriptor, false},
    .answer = signal_answer,
};

/* protobuf-c's structs have no const; packing does not write. */
static char *unconst(const char *s)
{
	char *out;

	memcpy(&out, &s, sizeof(out));
	return out;
}

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
	if (filter->group != NULL)
		request.group = unconst(filter->group);
	return question_ask(client, &list_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_get(struct telex_client *client, const char *process_id, int64_t timeout_ms,
    void (*each)(const struct telex_process *process, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__GetRequest request = TELEX__V1__GET_REQUEST__INIT;
	const struct question_answer to = {.process = each};

	if (process_id == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no process id was given");
	request.process_id = unconst(process_id);
	return question_ask(client, &get_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_signal(struct telex_client *client, const char *process_id,
    const struct telex_signal_options *o, int64_t timeout_ms, telex_done *done, void *arg,
    struct telex_error *error)
{
	Google__Protobuf__Duration kill_after = GOOGLE__PROTOBUF__DURATION__INIT;
	Telex__V1__SignalValue value = TELEX__V1__SIGNAL_VALUE__INIT;
	Telex__V1__SignalRequest request = TELEX__V1__SIGNAL_REQUEST__INIT;
	const struct question_answer to = {.process = NULL};

	if (process_id == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no process id was given");
	if (o->signo < 0 || o->signo > 64)
		return error_set(error, TELEX_ERROR_USAGE, "%d is no signal", o->signo);
	if (o->kills && o->kill_after_ms < 0)
		return error_set(error, TELEX_ERROR_USAGE, "kill_after_ms is negative");
	request.process_id = unconst(process_id);
	request.signal = (uint32_t)o->signo;
	request.target = (Telex__V1__SignalTarget)o->target;
	if (o->has_value) {
		value.value = o->value;
		request.value = &value;
	}
	if (o->kills) {
		kill_after.seconds = o->kill_after_ms / 1000;
		kill_after.nanos = (int32_t)(o->kill_after_ms % 1000 * 1000000);
		request.kill_after = &kill_after;
	}
	return question_ask(client, &signal_kind, &request.base, timeout_ms, &to, done, arg, error);
}
