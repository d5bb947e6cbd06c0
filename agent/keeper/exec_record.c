/* SPDX-License-Identifier: Apache-2.0 */
/* The records of exec.log. */
#include <string.h>

#include "agent/keeper/exec_log.h"
#include "agent/keeper/exec_log_internal.h"
#include "agent/keeper/job.h"
#include "agent/keeper/user.h"
#include "common/job_spec.h"
#include "common/log.h"
#include "common/signame.h"

static struct audit *begin(struct exec_log *x, const char *event)
{
	struct audit *a = x != NULL ? x->own : NULL;

	audit_begin(a, event);
	return a;
}

static void end(struct audit *a)
{
	(void)audit_end(a, NULL);
}

/* ---- workers ---- */

void exec_log_worker_begins(
    struct exec_log *x, uint64_t writer, uint32_t index, pid_t pid, uint8_t begun[KM_HASH_SIZE])
{
	struct audit *a = begin(x, "worker-begin");

	audit_number(a, "worker", (int64_t)writer);
	audit_number(a, "index", index);
	audit_number(a, "pid", pid);
	end(a);
	audit_hash(a, begun);
}

static void put_anchor(struct audit *a, uint64_t writer, const struct km_pong *m)
{
	audit_number(a, "worker", (int64_t)writer);
	if (m->audit_seq == 0)
		return;
	audit_number(a, "worker_seq", (int64_t)(m->audit_seq & INT64_MAX));
	audit_hex(a, "worker_hash", m->audit_hash, sizeof(m->audit_hash));
}

void exec_log_anchor(struct exec_log *x, uint64_t writer, const struct km_pong *m)
{
	struct audit *a = begin(x, "anchor");

	put_anchor(a, writer, m);
	end(a);
}

void exec_log_found(struct exec_log *x, const struct audit_open *chain)
{
	struct audit *a = begin(x, "anchor");

	audit_number(a, "worker", (int64_t)chain->writer);
	audit_number(a, "worker_seq", (int64_t)chain->seq);
	audit_hex(a, "worker_hash", chain->hash, sizeof(chain->hash));
	end(a);
}

/* What is in the file, unless it was said to be more: then that is missing there. *torn: behind it
 * there is a piece of a record. */
static void read_end(uint64_t writer, int fd, struct km_pong *m, bool *torn)
{
	struct audit_open last;
	struct err e = {0};
	bool piece = false;
	int rc = fd >= 0 ? audit_tail_of(fd, writer, &last, &piece, &e) : 0;

	*torn = rc > 0 && piece;
	if (rc < 0)
		log_warn("audit: the last record of worker %llu: %s", (unsigned long long)writer,
		    e.message);
	if (rc <= 0 || last.seq <= m->audit_seq)
		return;
	m->audit_seq = last.seq;
	memcpy(m->audit_hash, last.hash, sizeof(m->audit_hash));
}

void exec_log_worker_ended(struct exec_log *x, uint64_t writer, pid_t pid, int fd,
    const struct km_pong *m, const char *how)
{
	struct km_pong end_of = *m;
	bool torn = false;
	struct audit *a;

	if (x == NULL)
		return;
	read_end(writer, fd, &end_of, &torn);
	a = begin(x, "worker-end");
	put_anchor(a, writer, &end_of);
	if (torn)
		audit_flag(a, "torn", true);
	audit_number(a, "pid", pid);
	audit_text(a, "how", how);
	end(a);
}

/* ---- jobs ---- */

static struct audit *begin_job(struct exec_log *x, const char *event, const struct job *j)
{
	struct audit *a = begin(x, event);

	audit_text(a, "id", j->id);
	audit_text(a, "owner", j->owner);
	return a;
}

static int end_or_refuse(struct audit *a, struct km_refused *why)
{
	if (audit_end(a, NULL) == 0)
		return 0;
	*why = (struct km_refused){.why = KM_WHY_AUDIT};
	strcpy(why->text, "the agent's record of executions cannot be written to");
	return TX_ESYS;
}

int exec_log_exec(
    struct exec_log *x, const struct job *j, const struct user *user, struct km_refused *why)
{
	const struct job_spec *spec = j->spec;
	struct audit *a = begin_job(x, "exec", j);

	audit_text(a, "user", user->name);
	audit_number(a, "uid", user->uid);
	audit_number(a, "gid", user->gid);
	audit_text(a, "cwd", spec->cwd != NULL ? spec->cwd : user->home);
	audit_list(a, "argv", spec->argv, spec->argc);
	/* Their values are nobody's business. */
	audit_list_open(a, "environment");
	for (size_t i = 0; i < spec->envc; i++)
		audit_list_item(a, spec->env[i], strcspn(spec->env[i], "="));
	audit_list_close(a);
	return end_or_refuse(a, why);
}

void exec_log_started(struct exec_log *x, const struct job *j)
{
	struct audit *a = begin_job(x, "started", j);

	audit_number(a, "pid", j->pid);
	/* Pid and this name one process for as long as the machine is up. */
	audit_number(a, "boot_ns", j->born_ns);
	end(a);
}

void exec_log_not_started(
    struct exec_log *x, const struct job *j, int stage, int sys_errno, const char *text)
{
	struct audit *a = begin_job(x, "not-started", j);

	audit_text(a, "stage", km_stage_name(stage));
	audit_number(a, "errno", sys_errno);
	audit_text(a, "why", text);
	end(a);
}

void exec_log_ended(struct exec_log *x, const struct job *j)
{
	static const char *const reasons[] = {[KM_REASON_EXITED] = "exited",
	    [KM_REASON_SIGNALLED] = "signalled",
	    [KM_REASON_RUN_TIMEOUT] = "run-timeout",
	    [KM_REASON_DISCONNECT] = "disconnect",
	    [KM_REASON_SHUTDOWN] = "shutdown",
	    [KM_REASON_OUT_OF_MEMORY] = "out-of-memory"};
	const struct km_exit *how = &j->exit;
	struct audit *a = begin_job(x, "ended", j);
	char name[24];

	audit_number(a, "pid", j->pid);
	if (how->kind == KM_END_CODE)
		audit_number(a, "code", how->value);
	else if (how->kind == KM_END_SIGNAL)
		audit_text(a, "signal", signame_format(name, sizeof(name), how->value));
	else
		audit_text(a, "why", how->text);
	if (how->reason < sizeof(reasons) / sizeof(reasons[0]))
		audit_text(a, "reason", reasons[how->reason]);
	if (how->by[0] != '\0')
		audit_text(a, "by", how->by);
	end(a);
}

/* ---- telex-files ---- */

int exec_log_files(struct exec_log *x, const char *owner, const struct user *user, bool watch,
    struct km_refused *why)
{
	struct audit *a = begin(x, "files-exec");

	audit_text(a, "owner", owner);
	audit_text(a, "user", user->name);
	audit_number(a, "uid", user->uid);
	audit_number(a, "gid", user->gid);
	if (watch)
		audit_flag(a, "watch", true);
	return end_or_refuse(a, why);
}

void exec_log_files_started(struct exec_log *x, const char *owner, pid_t pid)
{
	struct audit *a = begin(x, "files-started");

	audit_text(a, "owner", owner);
	audit_number(a, "pid", pid);
	end(a);
}

void exec_log_files_ended(struct exec_log *x, const char *owner, pid_t pid, const char *how)
{
	struct audit *a = begin(x, "files-ended");

	audit_text(a, "owner", owner);
	audit_number(a, "pid", pid);
	audit_text(a, "how", how);
	end(a);
}

/* ---- the rest ---- */

void exec_log_refused(struct exec_log *x, const char *what, const char *identity, const char *id,
    const char *why, bool hostile)
{
	struct audit *a = begin(x, "refused");

	audit_text(a, "what", what);
	if (identity[0] != '\0')
		audit_text(a, "identity", identity);
	if (id[0] != '\0')
		audit_text(a, "id", id);
	audit_text(a, "why", why);
	audit_flag(a, "hostile", hostile);
	end(a);
}

void exec_log_event(struct exec_log *x, const char *event, const char *detail)
{
	struct audit *a = begin(x, event);

	audit_text(a, "detail", detail);
	end(a);
}
