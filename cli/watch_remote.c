/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch --exec-remote: a command on the agent, each run a telex process of one group, which `telex
 * ps`, `kill --group` and `logs` know. Its output comes here.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/end.h"
#include "cli/follow_words.h"
#include "cli/run_streams.h"
#include "cli/say.h"
#include "cli/watch_command.h"
#include "cli/watch_queue.h"
#include "common/duration.h"
#include "common/mem.h"

#define ARGV_MAX ((size_t)256 * 1024) /* of names */

struct remote {
	struct watch *watch;
	struct watch_queue *queue;
	struct watch_command command;
	struct watch_command_run what;
	struct run_streams *streams;
	struct telex_run *run; /* NULL: none runs, or it is left */
	struct telex_started started;
	size_t given; /* of what.input */
	char group[24], id[128];
	bool stopping; /* the run is ended because we end */
};

/* ---- what is told of a run ---- */

static void ended(struct remote *r, int status, bool ran)
{
	/* Nobody knows what it has left out when it was told to end. */
	const bool undone = !ran || r->stopping;
	const enum watch_run_end how = undone         ? WATCH_RUN_UNDONE
	                               : r->what.more ? WATCH_RUN_PART
	                                              : WATCH_RUN_WHOLE;

	r->run = NULL;
	watch_command_run_clear(&r->what);
	watch_queue_ended(r->queue, status, how);
}

static void feed(struct remote *r)
{
	if (r->run == NULL || r->what.input == NULL)
		return;
	r->given += telex_run_write(r->run, r->what.input + r->given, r->what.input_len - r->given);
	if (r->given == r->what.input_len)
		telex_run_write_eof(r->run);
}

static void on_started(struct telex_run *run, const struct telex_started *started, void *arg)
{
	struct remote *r = arg;

	(void)run;
	r->started = *started;
	snprintf(r->id, sizeof(r->id), "%s", started->process_id);
	say_detail("process %s, pid %u, in group %s", r->id, started->pid, r->group);
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	struct remote *r = arg;

	(void)run;
	run_streams_output(r->streams, stream, data, len, eof);
}

static void on_stdin_room(struct telex_run *run, void *arg)
{
	(void)run;
	feed(arg);
}

static void on_done(struct telex_run *run, const struct telex_exit *exit,
    const struct telex_error *error, void *arg)
{
	struct remote *r = arg;
	char how[END_TEXT];
	int status;

	(void)run;
	if (exit != NULL) {
		status = end_status(exit);
		end_text(how, sizeof(how), exit);
		watch_command_say(&r->command, how, status == 0, !r->stopping);
	} else {
		/* It could not be started, or the agent is gone: the next change tries again, and
		 * is told that more than that has changed. */
		status = end_error_status(error);
		session_say_of(watch_session(r->watch), "watch", "--exec-remote", error);
	}
	ended(r, status, exit != NULL);
}

static const struct telex_run_ops run_ops = {
    .started = on_started, .output = on_output, .stdin_room = on_stdin_room, .done = on_done};

/* ---- this side's streams ---- */

static void on_consumed(enum telex_stream stream, size_t n, void *arg)
{
	struct remote *r = arg;

	if (r->run != NULL)
		telex_run_consumed(r->run, stream, n);
}

static void on_stdout_lost(int sys_errno, void *arg)
{
	struct remote *r = arg;

	if (sys_errno != EPIPE)
		say_error("cannot write standard output: %s", strerror(sys_errno));
	if (r->run != NULL) {
		r->stopping = true;
		telex_run_signal(r->run, SIGPIPE, TELEX_TARGET_GROUP);
	}
	watch_end(r->watch, sys_errno == EPIPE ? 128 + SIGPIPE : CLI_TELEX);
}

static void on_flushed(void *arg)
{
	(void)arg;
}

static const struct run_streams_ops streams_ops = {
    .stdout_lost = on_stdout_lost, .consumed = on_consumed, .flushed = on_flushed};

/* ---- a run ---- */

static void on_start(void *self, const char *clock, bool overflow)
{
	struct remote *r = self;
	const struct telex_watch_options *o = &watch_get_options(r->watch)->o;
	struct telex_command command = {
	    .user = o->user,
	    .group = r->group,
	    .group_max = 1,
	};
	struct telex_error error;

	watch_command_take(&r->command, &r->what, ARGV_MAX, clock, overflow);
	command.argv = (const char *const *)r->what.argv;
	command.env = (const char *const *)r->what.env;
	command.stdin_pipe = r->what.input != NULL;
	r->given = 0;
	r->id[0] = '\0';
	if (telex_run(watch_session(r->watch)->client, &r->run, &command, &run_ops, r, &error) <
	    0) {
		session_say_of(watch_session(r->watch), "watch", "--exec-remote", &error);
		ended(r, CLI_TELEX, false);
		return;
	}
	feed(r);
}

static void on_signal(void *self, int signo, bool last)
{
	struct remote *r = self;

	r->stopping = true;
	if (r->run == NULL)
		return;
	if (!last) {
		telex_run_signal(r->run, signo, TELEX_TARGET_GROUP);
		return;
	}
	if (r->id[0] != '\0')
		follow_words_left(watch_session(r->watch)->address, r->id, &r->started);
	telex_run_detach(r->run);
	ended(r, 128 + signo, true);
}

static size_t on_add(void *self, const struct telex_change *c)
{
	struct remote *r = self;

	return watch_command_add(&r->command, c);
}

static void on_free(void *self)
{
	struct remote *r = self;

	run_streams_free(r->streams);
	watch_command_run_clear(&r->what);
	watch_command_clear(&r->command);
	free(r);
}

static const struct watch_runner runner = {
    .add = on_add, .start = on_start, .signal = on_signal, .free = on_free};

void *watch_remote_new(struct watch *w)
{
	const struct watch_options *o = watch_get_options(w);
	struct remote *r = xcalloc(1, sizeof(*r));
	uint64_t bits;

	r->watch = w;
	watch_command_init(&r->command, o->command, o->null, o->o.paths);
	/* The clock is random enough where there are no random bits. */
	if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
		bits = (uint64_t)clock_realtime_ns();
	snprintf(r->group, sizeof(r->group), "watch-%012" PRIx64, bits >> 16);
	r->streams = run_streams_new(watch_session(w)->base, false, &streams_ops, r);
	say_note("runs are processes of group %s on the agent", r->group);
	r->queue = watch_queue_new(w, &runner, r);
	return r->queue;
}
