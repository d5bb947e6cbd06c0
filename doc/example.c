/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole program with libtelex: runs a command, feeds it a text, prints what it writes and ends
 * as it ended.
 *
 *     cc example.c -o example $(pkg-config --cflags --libs telex)
 *     ./example build7:8359 ann.pem ann.key ca.pem tr a-z A-Z
 *
 * All of it happens in event_base_dispatch: telex_run only says what is to be done, and on_done is
 * the last that is heard of the run.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <telex.h>

struct job {
	struct event_base *base;
	const char *input; /* what the command has not been given yet */
	int status;
};

/* Gives what fits; on_room comes when there is room again. */
static void feed(struct telex_run *run, struct job *job)
{
	job->input += telex_run_write(run, job->input, strlen(job->input));
	if (*job->input == '\0')
		telex_run_write_eof(run);
}

static void on_room(struct telex_run *run, void *arg)
{
	feed(run, arg);
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	(void)eof;
	(void)arg;
	fwrite(data, 1, len, stream == TELEX_STDOUT ? stdout : stderr);
	/* Without this the command would stop at its next write that finds all buffers full. */
	telex_run_consumed(run, stream, len);
}

/* Nothing is to be done: the run goes on where it was, or on_done says that it cannot. */
static void on_interrupted(struct telex_run *run, const struct telex_error *why, void *arg)
{
	(void)run;
	(void)arg;
	fprintf(stderr, "%s; trying to come back\n", why->message);
}

static void on_done(struct telex_run *run, const struct telex_exit *exit,
    const struct telex_error *error, void *arg)
{
	struct job *job = arg;

	(void)run;
	if (error != NULL)
		fprintf(stderr, "%s\n", error->message);
	else if (exit->end == TELEX_END_SIGNAL)
		job->status = 128 + exit->value;
	else if (exit->end == TELEX_END_CODE)
		job->status = exit->value;
	else
		fprintf(stderr, "how it ended is not known: %s\n", exit->unknown_why);
	event_base_loopbreak(job->base);
}

int main(int argc, char **argv)
{
	static const struct telex_run_ops ops = {.output = on_output,
	    .stdin_room = on_room,
	    .interrupted = on_interrupted,
	    .done = on_done};
	struct job job = {.input = "one\ntwo\nthree\n", .status = 125};
	struct telex_client *client = NULL;
	struct telex_error error;
	struct telex_run *run;

	if (argc < 6) {
		fprintf(stderr, "Usage: example HOST[:PORT] CERTIFICATE KEY CA COMMAND [ARG…]\n");
		return 125;
	}
	const struct telex_options options = {.address = argv[1],
	    .certificate_file = argv[2],
	    .key_file = argv[3],
	    .ca_file = argv[4]};
	const struct telex_command command = {
	    .argv = (const char *const *)argv + 5, .stdin_pipe = true, .run_timeout_ms = 60000};

	job.base = event_base_new();
	if (job.base == NULL)
		return 125;
	if (telex_client_new(&client, job.base, &options, &error) != 0 ||
	    telex_run(client, &run, &command, &ops, &job, &error) != 0) {
		fprintf(stderr, "%s\n", error.message);
	} else {
		feed(run, &job);
		event_base_dispatch(job.base);
	}
	telex_client_free(client);
	event_base_free(job.base);
	return job.status;
}
