/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences about a process that is followed: one line for each thing that happened. */
#include "cli/follow_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/end.h"
#include "cli/keys.h"
#include "cli/output.h"
#include "cli/say.h"
#include "common/duration.h"
#include "common/signame.h"

#define RECONNECT_MS 60000

static void say_reason(const struct telex_exit *exit, int64_t run_timeout_ms, bool ours)
{
	char how[END_TEXT], time[48];

	end_text(how, sizeof(how), exit);
	switch (exit->reason) {
	case TELEX_REASON_RUN_TIMEOUT:
		if (run_timeout_ms > 0)
			say_note("ended by --timeout %s (%s)",
			    duration_format(time, sizeof(time), run_timeout_ms * NS_PER_MS), how);
		else
			say_note("ended by its run timeout (%s)", how);
		break;
	case TELEX_REASON_SIGNALLED:
		if (!ours)
			say_note("ended by a signal that %s sent (%s)",
			    exit->ended_by && exit->ended_by[0] ? exit->ended_by : "somebody", how);
		break;
	case TELEX_REASON_DISCONNECT:
		say_note("ended by its disconnect policy (%s)", how);
		break;
	case TELEX_REASON_SHUTDOWN:
		say_note("ended because the agent was shut down (%s)", how);
		break;
	case TELEX_REASON_OUT_OF_MEMORY:
		say_note(
		    "ended because memory ran out: its --limit memory, or the machine's (%s)", how);
		break;
	default:
		break;
	}
}

void follow_words_end(const struct telex_exit *exit, int64_t run_timeout_ms, bool ours)
{
	char how[END_TEXT];

	if (exit->end == TELEX_END_NOT_STARTED)
		say_error("it never ran: %s",
		    exit->unknown_why ? exit->unknown_why : "it was ended while it was queued");
	else
		say_reason(exit, run_timeout_ms, ours);
	if (exit->end == TELEX_END_UNKNOWN)
		say_error("how the program ended is not known: %s",
		    exit->unknown_why ? exit->unknown_why : "the agent does not say why");
	if (exit->stdout_open || exit->stderr_open)
		say_note("the program has ended, but a process it started still holds its %s; "
		         "what that writes is not shown",
		    !exit->stderr_open ? "stdout"
		                       : (exit->stdout_open ? "stdout and stderr" : "stderr"));
	say_detail("%s, %s", end_reason(exit->reason), end_text(how, sizeof(how), exit));
}

static void say_left(const char *id, const char *address, const char *what)
{
	say_note("left process %s at %s%s; come back with `telex attach %s`, end it with `telex "
	         "kill %s`",
	    id, address, what, id, id);
}

void follow_words_left(const char *address, const char *id, const struct telex_started *started)
{
	char what[80], wait[48];
	const int64_t wait_ms = started->disconnect_wait_ms;

	enum telex_disconnect policy = started->on_disconnect;

	/* Who only watches is not asked for. */
	if (!started->counts && policy != TELEX_DISCONNECT_DEFAULT)
		policy = TELEX_DISCONNECT_KEEP;
	switch (policy) {
	case TELEX_DISCONNECT_KILL:
		say_note("left process %s at %s, which is killed now (--on-disconnect kill)", id,
		    address);
		break;
	case TELEX_DISCONNECT_HANGUP:
		snprintf(what, sizeof(what), ", which is hung up in %s",
		    duration_format(wait, sizeof(wait), wait_ms < 0 ? 0 : wait_ms * NS_PER_MS));
		say_left(id, address, what);
		break;
	case TELEX_DISCONNECT_KEEP:
		say_left(id, address, ", which goes on");
		break;
	default:
		say_left(id, address, "");
		break;
	}
}

void follow_words_signal(const char *id, int signo, bool waits)
{
	char name[24];

	signame_format(name, sizeof(name), signo);
	if (waits)
		say_note("%s will be sent when the connection is back; Ctrl-C twice leaves", name);
	else
		say_detail("%s goes to process %s", name, id);
}

void follow_words_unsure(int signo)
{
	char name[24];

	say_note(
	    "%s may not have arrived; send it again", signame_format(name, sizeof(name), signo));
}

void follow_words_lost(const char *address, const char *id)
{
	say_note("what became of process %s is not known here; when %s is there again, come back "
	         "with `telex attach %s`",
	    id, address, id);
}

void follow_words_interrupted(
    const struct session *s, const struct telex_error *why, const char *meanwhile)
{
	static const char same[] = " is lost: "; /* what is said already */
	const int64_t ms = s->reconnect_ms ? s->reconnect_ms : RECONNECT_MS;
	const char *reason = strstr(why->message, same);
	char time[48];

	say_note("lost the connection to %s (%s); trying to come back for %s; %s", s->address,
	    reason ? reason + sizeof(same) - 1 : why->message,
	    duration_format(time, sizeof(time), ms * NS_PER_MS), meanwhile);
}

void follow_words_queued(const struct telex_group *group, void *arg)
{
	(void)arg;
	say_note(
	    "queued: group %s has %u of %u running", group->name, group->running, group->maximum);
}

void follow_words_skipped(enum telex_stream stream, uint64_t from, uint64_t to)
{
	say_note("%" PRIu64 " bytes of %s are missing here, from offset %" PRIu64
	         ": the agent did not hold them any longer",
	    to - from, stream == TELEX_STDOUT ? "stdout" : "stderr", from);
}

void follow_words_unknown(const char *address, const char *id)
{
	say_error("how process %s ended is not known: %s knows it no longer (it was ended and "
	          "forgotten, or the agent was started anew); its log and `telex ps -a` may tell",
	    id, address);
}

void follow_words_escapes(void)
{
	for (const char *const *line = keys_help; *line; line++)
		say_error("%s", *line);
}

void follow_words_joined(const struct telex_started *started)
{
	if (started->stdin_held && started->stdin_offset > 0)
		say_note("process %s was running already; what is typed here follows the %" PRIu64
		         " bytes that its stdin was given before",
		    started->process_id, started->stdin_offset);
	else
		say_detail(
		    "process %s, pid %u, was running already", started->process_id, started->pid);
}
