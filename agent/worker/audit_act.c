/* SPDX-License-Identifier: Apache-2.0 */
/* What calls ask the keeper to do, each with what it acts on. Of an environment only the names. */
#include <string.h>

#include "agent/worker/audit_internal.h"
#include "agent/worker/audit_log.h"
#include "agent/worker/file_request.h"
#include "agent/worker/worker.h"
#include "common/audit.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"
#include "common/rpc_status.h"
#include "common/signame.h"

static void put_environment(struct audit *a, const struct job_spec *spec)
{
	audit_list_open(a, "env");
	for (size_t i = 0; i < spec->envc; i++)
		audit_list_item(a, spec->env[i], strcspn(spec->env[i], "="));
	audit_list_close(a);
}

/* What was asked for in the place of a forced command, which argv is. */
static void put_asked(struct audit *a, const struct job_spec *spec)
{
	static const char name[] = "TELEX_ORIGINAL_COMMAND=";

	for (size_t i = 0; i < spec->envc; i++)
		if (strncmp(spec->env[i], name, sizeof(name) - 1) == 0)
			audit_text(a, "asked", spec->env[i] + sizeof(name) - 1);
}

static void put_start(
    struct audit *a, const struct worker *w, const struct km_start *m, const struct job_spec *spec)
{
	audit_text(a, "id", m->id);
	if (spec == NULL)
		return;
	audit_text(a, "user", spec->user != NULL ? spec->user : w->config.default_user);
	/* Where that is the keeper knows, and writes. */
	audit_text(a, "cwd", spec->cwd != NULL ? spec->cwd : "~");
	audit_text(a, "process_group", spec->group);
	if (spec->terminal)
		audit_flag(a, "terminal", true);
	audit_list(a, "argv", spec->argv, spec->argc);
	put_asked(a, spec);
	put_environment(a, spec);
}

static void put_signal(struct audit *a, uint32_t signo, uint32_t target, int64_t kill_after_ns)
{
	static const char *const targets[] = {[KM_TARGET_PROCESS] = "process",
	    [KM_TARGET_GROUP] = "group",
	    [KM_TARGET_TREE] = "tree"};
	char name[24];

	/* 0: the process's own stop signal. */
	audit_text(
	    a, "signal", signo == 0 ? "stop" : signame_format(name, sizeof(name), (int)signo));
	if (target >= KM_TARGET_PROCESS && target <= KM_TARGET_TREE)
		audit_text(a, "target", targets[target]);
	if (kill_after_ns >= 0)
		audit_number(a, "kill_after_ms", kill_after_ns / 1000000);
}

static void put_update(struct audit *a, const struct km_update *m)
{
	audit_text(a, "id", m->id);
	if (m->set_nice)
		audit_number(a, "nice", m->nice);
	if (m->cpu_millis != 0)
		audit_number(a, "cpu_millis", m->cpu_millis);
	if (m->memory != 0)
		audit_number(a, "memory", (int64_t)m->memory);
	if (m->pids != 0)
		audit_number(a, "pids", (int64_t)m->pids);
	audit_list_open(a, "rlimits");
	for (uint32_t i = 0; i < m->n_rlimits && i < JOB_RLIMITS_MAX; i++) {
		const char *name = job_rlimit_name((int)m->rlimits[i].resource);

		if (name != NULL)
			audit_list_item(a, name, strlen(name));
	}
	audit_list_close(a);
}

static const char *group_event(const struct km_group *m)
{
	switch (m->op) {
	case KM_GROUP_SIGNAL:
		return "signal";
	case KM_GROUP_REMOVE:
		return "remove";
	case KM_GROUP_UPDATE:
		return "update";
	default:
		return NULL;
	}
}

static const char *event_of(uint16_t type, const void *msg)
{
	switch (type) {
	case KM_START:
		return "start";
	case KM_ATTACH:
		return "attach";
	case KM_SIGNAL:
		return "signal";
	case KM_REMOVE:
		return "remove";
	case KM_UPDATE:
		return "update";
	case KM_GROUP:
		return group_event(msg);
	default:
		return NULL;
	}
}

static void put_group(struct audit *a, const struct km_group *m)
{
	audit_text(a, "process_group", m->name);
	if (m->op == KM_GROUP_SIGNAL)
		put_signal(a, m->signo, m->target, m->kill_after_ns);
	else if (m->op == KM_GROUP_UPDATE)
		audit_number(a, "maximum", m->maximum);
}

static void put_act(struct audit *a, const struct worker *w, uint16_t type, const union km_any *m,
    const struct job_spec *spec)
{
	switch (type) {
	case KM_START:
		put_start(a, w, &m->start, spec);
		break;
	case KM_ATTACH:
		audit_text(a, "id", m->attach.id);
		audit_flag(a, "stdin", m->attach.want_stdin != 0);
		break;
	case KM_SIGNAL:
		audit_text(a, "id", m->signal.id);
		put_signal(a, m->signal.signo, m->signal.target, m->signal.kill_after_ns);
		break;
	case KM_REMOVE:
		audit_text(a, "id", m->remove.id);
		break;
	case KM_UPDATE:
		put_update(a, &m->update);
		break;
	default:
		put_group(a, &m->group);
	}
}

int audit_log_act(struct rpc_call *c, uint16_t type, const void *msg, const struct job_spec *spec,
    struct rpc_status *refuse)
{
	const char *event = event_of(type, msg);
	struct audit *a;

	if (event == NULL)
		return 0;
	a = audit_begin_call(c, event);
	put_act(a, rpc_call_context(c), type, msg, spec);
	return audit_end(a, NULL) == 0 ? 0 : audit_unavailable(refuse);
}

int audit_log_exit(
    struct rpc_call *c, const char *id, const struct km_exit *how, struct rpc_status *refuse)
{
	struct audit *a = audit_begin_call(c, "exit");
	char name[24];

	audit_text(a, "id", id);
	switch (how->kind) {
	case KM_END_CODE:
		audit_number(a, "code", how->value);
		break;
	case KM_END_SIGNAL:
		audit_text(a, "signal", signame_format(name, sizeof(name), how->value));
		break;
	case KM_END_NOT_STARTED:
		audit_text(a, "not_started", how->text);
		break;
	default:
		audit_text(a, "unknown", how->text);
	}
	if (how->by[0] != '\0')
		audit_text(a, "by", how->by);
	return audit_end(a, NULL) == 0 ? 0 : audit_unavailable(refuse);
}

int audit_log_other(struct rpc_call *c, const char *event, const char *what, const char *subject,
    const char *detail, struct rpc_status *refuse)
{
	struct audit *a = audit_begin_call(c, event);

	audit_text(a, "what", what);
	audit_text(a, "subject", subject);
	audit_text(a, "detail", detail);
	return audit_end(a, NULL) == 0 ? 0 : audit_unavailable(refuse);
}

/* ---- files ---- */

static void put_paths(struct audit *a, const struct file_request *f)
{
	audit_list_open(a, "paths");
	for (size_t i = 0; i < f->n_paths; i++)
		audit_list_item(a, f->paths[i].path, strlen(f->paths[i].path));
	audit_list_close(a);
}

int audit_log_files(struct rpc_call *c, const struct file_request *f, struct rpc_status *refuse)
{
	struct audit *a = audit_begin_call(c, "file");

	audit_text(a, "method", rpc_call_method(c)->name);
	audit_text(a, "user", f->user[0] != '\0' ? f->user : NULL);
	put_paths(a, f);
	return audit_end(a, NULL) == 0 ? 0 : audit_unavailable(refuse);
}

void audit_log_files_end(struct rpc_call *c, int code, const char *reason, const char *summary)
{
	struct audit *a = audit_begin_call(c, "file-end");

	audit_text(a, "method", rpc_call_method(c)->name);
	audit_text(a, "code", rpc_code_name(code));
	audit_text(a, "reason", reason != NULL && reason[0] != '\0' ? reason : NULL);
	audit_text(a, "summary", summary != NULL && summary[0] != '\0' ? summary : NULL);
	(void)audit_end(a, NULL);
}
