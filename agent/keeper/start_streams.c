/* SPDX-License-Identifier: Apache-2.0 */
/* A job's standard streams: pipes, or one terminal. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/start_internal.h"
#include "agent/keeper/terminal.h"
#include "agent/keeper/user.h"

#define GIVE 16 /* descriptors at once: more than a start takes */

void start_drop_pumps(struct job *j)
{
	j->start_ns = 0;
	if (j->terminal >= 0)
		close(j->terminal);
	j->terminal = -1;
	pump_in_free(j->in);
	j->in = NULL;
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		pump_out_free(j->out[s]);
		j->out[s] = NULL;
	}
}

/* ---- pipes ---- */

void start_close_ends(const struct starter *st, int terminal, struct start_ends *ends)
{
	for (int i = 0; i < 3; i++)
		if (ends->fds[i] >= 0 && ends->fds[i] != st->null_fd && ends->fds[i] != terminal)
			close(ends->fds[i]);
}

/* pipe2 with the keeper's end, `mine`, non-blocking. 0 or an errno. */
static int make_pipe(const struct starter *st, int mine, int pair[2])
{
	int error = 0;

	if (pipe2(pair, O_CLOEXEC) != 0)
		return errno;
	if (pair[0] >= st->fd_ceiling || pair[1] >= st->fd_ceiling)
		error = EMFILE;
	else if (fcntl(pair[mine], F_SETFL, O_NONBLOCK) != 0)
		error = errno;
	if (error != 0) {
		close(pair[0]);
		close(pair[1]);
	}
	return error;
}

/* -1: an output that has ended. fd is taken, or stays the caller's when it fails (TX_ENOMEM). */
static int pump_output(struct starter *st, struct job *j, int s, int fd)
{
	const uint64_t size = j->spec->output_buffer;
	const struct store_config config = {
	    .ring_size = (size_t)(size != 0 ? size : st->c.output_buffer),
	    .drop_oldest = j->spec->output_policy == JOB_OUTPUT_DROP_OLDEST,
	    .spool = j->spec->spool,
	    .spool_folder = st->c.spool_folder,
	    .job = j->id,
	};

	return pump_out_new(
	    &j->out[s], jobs_base(st->jobs), fd, &config, job_output_ops((enum km_stream)s), j);
}

static int open_output(
    struct starter *st, struct job *j, int s, struct start_ends *ends, struct km_refused *why)
{
	int pair[2];
	int error = make_pipe(st, 0, pair);

	if (error != 0)
		return start_refuse_system(why, error, "cannot make a pipe");
	ends->fds[s] = pair[1];
	if (pump_output(st, j, s, pair[0]) == 0)
		return 0;
	close(pair[0]);
	return start_refuse_system(why, ENOMEM, "cannot watch a pipe");
}

static int open_input(
    struct starter *st, struct job *j, struct start_ends *ends, struct km_refused *why)
{
	struct err e;
	int pair[2];
	int rc;

	if (!j->spec->stdin_pipe) {
		ends->fds[0] = st->null_fd;
		return 0;
	}
	rc = make_pipe(st, 1, pair);
	if (rc != 0)
		return start_refuse_system(why, rc, "cannot make a pipe");
	ends->fds[0] = pair[0];
	rc = pump_in_new(&j->in, jobs_base(st->jobs), pair[1], (size_t)st->c.output_buffer,
	    job_stdin_moved, j, &e);
	if (rc == 0)
		return 0;
	close(pair[1]);
	return start_refuse(
	    why, KM_WHY_SYSTEM, KM_STAGE_NONE, rc == TX_ESYS ? e.sys_errno : ENOMEM, e.message);
}

static int open_pipes(
    struct starter *st, struct job *j, struct start_ends *ends, struct km_refused *why)
{
	int rc = open_input(st, j, ends, why);

	for (int s = KM_STDOUT; s <= KM_STDERR && rc == 0; s++)
		rc = open_output(st, j, s, ends, why);
	return rc;
}

/* ---- or a terminal ---- */

/* Takes the master. Input and output each have a descriptor of it: they end on their own. */
static int pump_master(struct starter *st, struct job *j, int master, struct km_refused *why)
{
	int second = fcntl(master, F_DUPFD_CLOEXEC, 0);
	int rc = second < 0 ? TX_ESYS : pump_output(st, j, KM_STDOUT, master);
	struct err e;

	if (rc != 0)
		close(master);
	else
		rc = pump_output(st, j, KM_STDERR, -1);
	if (rc == 0)
		rc = pump_in_new(&j->in, jobs_base(st->jobs), second, (size_t)st->c.output_buffer,
		    job_stdin_moved, j, &e);
	if (rc == 0)
		return 0;
	if (second >= 0)
		close(second);
	return start_refuse_system(why, second < 0 ? EMFILE : ENOMEM, "cannot watch a terminal");
}

static int open_terminal(struct starter *st, struct job *j, const struct user *user,
    struct start_ends *ends, struct km_refused *why)
{
	const struct terminal_owner owner = {
	    .change = geteuid() == 0, .uid = user->uid, .gid = user->gid, .tty = st->tty};
	struct terminal t;
	struct err e;

	if (terminal_open(&t, j->spec->rows, j->spec->columns, &owner, &e) != 0)
		return start_refuse(why, KM_WHY_START, KM_STAGE_FORK, e.sys_errno, e.message);
	j->terminal = t.slave;
	for (int i = 0; i < 3; i++)
		ends->fds[i] = t.slave;
	if (t.master >= st->fd_ceiling || t.slave >= st->fd_ceiling) {
		close(t.master);
		return start_refuse_system(why, EMFILE, "cannot make a terminal");
	}
	return pump_master(st, j, t.master, why);
}

static int try_streams(struct starter *st, struct job *j, const struct user *user,
    struct start_ends *ends, struct km_refused *why)
{
	return j->spec->terminal ? open_terminal(st, j, user, ends, why)
	                         : open_pipes(st, j, ends, why);
}

/* What has ended keeps nobody from starting: its output goes before that. */
int start_streams(struct starter *st, struct job *j, const struct user *user,
    struct start_ends *ends, struct km_refused *why)
{
	int rc = try_streams(st, j, user, ends, why);

	while (rc != 0 && why->sys_errno == EMFILE && jobs_give_descriptors(st->jobs, GIVE) > 0) {
		start_close_ends(st, j->terminal, ends);
		start_drop_pumps(j);
		*ends = (struct start_ends){{-1, -1, -1}};
		*why = (struct km_refused){.hdr = why->hdr};
		rc = try_streams(st, j, user, ends, why);
	}
	return rc;
}
