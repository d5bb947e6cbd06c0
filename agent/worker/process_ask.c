/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/process_ask.h"

#include <stdio.h>
#include <unistd.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/process_call.h"
#include "agent/worker/process_lookup.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "common/duration.h"

struct asked {
	struct process_call base;
	struct job_spec *spec; /* Start */
};

static struct asked *ask(struct rpc_call *c)
{
	return process_call_new(c, sizeof(struct asked));
}

void process_ask_closed(struct rpc_call *c)
{
	struct asked *a = rpc_call_data(c);

	if (a != NULL)
		process_spec_free(a->spec);
	process_call_closed(c);
}

/* ---- Start ---- */

static void send_start(struct asked *a, const struct job_record *record, bool created)
{
	Telex__V1__StartResponse response = TELEX__V1__START_RESPONSE__INIT;
	struct process_message m;

	process_reply_process(&m, record);
	response.process = &m.process;
	response.created = created;
	process_call_answer(&a->base, &response.base);
	process_reply_process_clear(&m);
}

static void on_found(const struct job_record *record, void *arg)
{
	send_start(arg, record, false);
}

static void on_found_answer(const union km_any *msg, int fd, void *arg)
{
	struct asked *a = arg;
	struct rpc_status status;

	a->base.asked = NULL;
	if (process_lookup_read(msg, fd, on_found, a, &status) < 0)
		process_call_fail(&a->base, &status);
}

static void look_up(struct process_call *p, const char *id, bool usage, keeper_answer *answer)
{
	struct rpc_status status;
	int rc = process_lookup(process_call_keeper(p), id, process_call_identity(p),
	    authz_any(p->call), usage, answer, p, &p->asked);

	if (rc == 0)
		return;
	process_reply_link(&status, rc);
	process_call_fail(p, &status);
}

static void on_start_answer(const union km_any *msg, int fd, void *arg)
{
	struct asked *a = arg;
	struct job_record record = {0};

	(void)fd;
	a->base.asked = NULL;
	if (msg == NULL || msg->hdr.type != KM_JOB) {
		process_call_refuse(&a->base, msg);
		return;
	}
	if (!msg->job.created) {
		look_up(&a->base, msg->job.id, false, on_found_answer);
		return;
	}
	record.state = msg->job.state;
	record.pid = msg->job.pid;
	record.start_ns = msg->job.start_ns;
	record.terminal = msg->job.terminal;
	record.group = a->spec->group != NULL ? a->spec->group : "";
	record.id = msg->job.id;
	record.owner = msg->job.owner;
	record.user = a->spec->user != NULL ? a->spec->user : "";
	record.argc = a->spec->argc;
	record.argv = (const char *const *)a->spec->argv;
	send_start(a, &record, true);
}

void process_ask_start(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__StartRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct km_start m = {0};
	struct rpc_status status;
	int fd;

	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	if (process_id_check(q->process_id, &status) < 0 ||
	    process_spec_parse(&a->spec, q->spec, false, &status) < 0 ||
	    authz_start(c, a->spec, &m, &status) < 0 ||
	    audit_log_act(c, KM_START, &m, a->spec, &status) < 0 ||
	    process_spec_seal(a->spec, &fd, &status) < 0) {
		process_call_fail(&a->base, &status);
		return;
	}
	snprintf(m.owner, sizeof(m.owner), "%s", process_call_identity(&a->base));
	process_call_ask(&a->base, KM_START, &m, fd, on_start_answer);
	close(fd);
}

/* A question that is answered with "done", and then with an empty message. */
static void on_done(
    struct process_call *p, const union km_any *msg, const ProtobufCMessage *response)
{
	p->asked = NULL;
	if (msg == NULL || msg->hdr.type != KM_DONE)
		process_call_refuse(p, msg);
	else
		process_call_answer(p, response);
}

/* ---- Signal ---- */

static void on_signal_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__SignalResponse response = TELEX__V1__SIGNAL_RESPONSE__INIT;

	(void)fd;
	on_done(arg, msg, &response.base);
}

void process_ask_signal(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__SignalRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct km_signal m = {.signo = q->signal};
	struct policy_request r = {
	    .signal = (int)(q->signal & 0xff), .kill = q->kill_after != NULL};
	struct rpc_status status;

	if (process_id_check(q->process_id, &status) < 0 ||
	    process_stop_check(q->signal, q->target, q->kill_after, &m.kill_after_ns, &status) <
	        0 ||
	    process_value_check(q->value, q->target, &status) < 0 ||
	    authz_process(c, &r, &m.any, &status) < 0) {
		process_call_fail(&a->base, &status);
		return;
	}
	m.target = process_signal_target(q->target);
	m.has_value = q->value != NULL;
	m.value = q->value != NULL ? q->value->value : 0;
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.by, sizeof(m.by), "%s", process_call_identity(&a->base));
	process_call_ask(&a->base, KM_SIGNAL, &m, -1, on_signal_answer);
}

/* ---- Get ---- */

static void on_got(const struct job_record *record, void *arg)
{
	Telex__V1__GetResponse response = TELEX__V1__GET_RESPONSE__INIT;
	struct process_message m;
	struct process_call *p = arg;

	process_reply_process(&m, record);
	response.process = &m.process;
	process_call_answer(p, &response.base);
	process_reply_process_clear(&m);
}

static void on_get_answer(const union km_any *msg, int fd, void *arg)
{
	struct process_call *p = arg;
	struct rpc_status status;

	p->asked = NULL;
	if (process_lookup_read(msg, fd, on_got, p, &status) < 0)
		process_call_fail(p, &status);
}

void process_ask_get(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__GetRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct rpc_status status;

	if (process_id_check(q->process_id, &status) < 0)
		process_call_fail(&a->base, &status);
	else
		look_up(&a->base, q->process_id, true, on_get_answer);
}

/* ---- Remove ---- */

static void on_remove_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__RemoveResponse response = TELEX__V1__REMOVE_RESPONSE__INIT;

	(void)fd;
	on_done(arg, msg, &response.base);
}

void process_ask_remove(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__RemoveRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct km_remove m = {.any = authz_any(c)};
	struct rpc_status status;

	if (process_id_check(q->process_id, &status) < 0) {
		process_call_fail(&a->base, &status);
		return;
	}
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.by, sizeof(m.by), "%s", process_call_identity(&a->base));
	process_call_ask(&a->base, KM_REMOVE, &m, -1, on_remove_answer);
}

/* ---- Update ---- */

static void on_update_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__UpdateResponse response = TELEX__V1__UPDATE_RESPONSE__INIT;

	(void)fd;
	on_done(arg, msg, &response.base);
}

static int take_update(
    struct km_update *m, const Telex__V1__UpdateRequest *q, struct rpc_status *status)
{
	int rc = process_id_check(q->process_id, status);

	if (rc == 0)
		rc = process_limits_check(m->rlimits, q->limits, q->n_limits, "limits", status);
	if (rc == 0 && q->nice != NULL && (q->nice->nice < -20 || q->nice->nice > 19))
		rc = process_bad_field(status, "nice.nice", "must be -20 to 19");
	if (rc == 0 && q->control_limits != NULL)
		rc = process_control_check(q->control_limits, "control_limits", status);
	if (rc < 0)
		return rc;
	m->n_rlimits = (uint32_t)q->n_limits;
	m->set_nice = q->nice != NULL;
	m->nice = q->nice != NULL ? (int8_t)q->nice->nice : 0;
	if (q->control_limits != NULL) {
		m->cpu_millis = q->control_limits->cpu_millis;
		m->memory = q->control_limits->memory_bytes;
		m->pids = q->control_limits->pids;
	}
	return 0;
}

static int allow_update(struct rpc_call *c, struct km_update *m, struct rpc_status *status)
{
	struct policy_request r = {
	    .renice = m->set_nice != 0,
	    .nice = m->nice,
	    .memory = m->memory,
	    .pids = m->pids,
	    .cpu_millis = m->cpu_millis,
	    .rlimits = m->rlimits,
	    .n_rlimits = m->n_rlimits,
	};

	return authz_process(c, &r, &m->any, status);
}

void process_ask_update(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__UpdateRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct km_update m = {0};
	struct rpc_status status;

	if (take_update(&m, q, &status) < 0 || allow_update(c, &m, &status) < 0) {
		process_call_fail(&a->base, &status);
		return;
	}
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.by, sizeof(m.by), "%s", process_call_identity(&a->base));
	process_call_ask(&a->base, KM_UPDATE, &m, -1, on_update_answer);
}
