/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/client_fixture.h"

#define GUARD_SECONDS 900

void fixture_turn(struct fixture *f)
{
	event_base_loop(f->base, EVLOOP_ONCE);
}

void fixture_until(struct fixture *f, const bool *flag)
{
	while (!*flag)
		fixture_turn(f);
}

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(bool *)arg = true;
}

void fixture_settle(struct fixture *f)
{
	const struct timeval moment = {0, 20000};
	bool over = false;
	struct event *timer = evtimer_new(f->base, on_quiet, &over);

	assert_non_null(timer);
	evtimer_add(timer, &moment);
	fixture_until(f, &over);
	event_free(timer);
	/* The moment may have passed while this process waited for a processor. */
	for (int i = 0; i < 100; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t len = strlen(text);

	assert_true(fd >= 0);
	assert_true(write(fd, text, len) == (ssize_t)len);
	close(fd);
}

void fixture_write(
    struct fixture *f, const struct pki_spec *spec, struct pki *issuer, const struct pki *trust)
{
	struct pki_pair pair;

	pki_issue(issuer, spec, &pair);
	write_file(f->certificate, pair.certificate);
	write_file(f->key, pair.key);
	write_file(f->ca, pki_ca(trust));
	pki_pair_free(&pair);
}

struct telex_client *fixture_client(struct fixture *f, const struct telex_options *o)
{
	struct telex_options all = {.address = f->address,
	    .certificate_file = f->certificate,
	    .key_file = f->key,
	    .ca_file = f->ca};
	struct telex_client *client = NULL;
	struct telex_error error;

	if (o != NULL && o->address != NULL)
		all.address = o->address;
	if (o != NULL) {
		all.server_name = o->server_name;
		all.connect_timeout_ms = o->connect_timeout_ms;
		all.reconnect_ms = o->reconnect_ms;
	}
	if (telex_client_new(&client, f->base, &all, &error) != 0)
		fail_msg("%s", error.message);
	return client;
}

void fixture_again(struct fixture *f, const struct telex_options *o)
{
	telex_client_free(f->client);
	f->client = fixture_client(f, o);
}

int fixture_setup(void **state)
{
	const struct pki_spec user = {.agent = false};
	const char *tmp = getenv("TMPDIR");
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	*state = f;
	alarm(GUARD_SECONDS);
	snprintf(f->folder, sizeof(f->folder), "%.40s/telex-test-XXXXXX",
	    tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
	if (mkdtemp(f->folder) == NULL)
		return -1;
	snprintf(f->certificate, sizeof(f->certificate), "%s/me.pem", f->folder);
	snprintf(f->key, sizeof(f->key), "%s/me.key", f->folder);
	snprintf(f->ca, sizeof(f->ca), "%s/ca.pem", f->folder);
	f->base = event_base_new();
	f->pki = pki_new("test CA");
	f->server_ctx = pki_server_ctx(f->pki, f->pki);
	f->agent = fake_agent_new(f->base, f->server_ctx);
	snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", fake_agent_port(f->agent));
	fixture_write(f, &user, f->pki, f->pki);
	f->client = fixture_client(f, NULL);
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	telex_client_free(f->client);
	fake_agent_free(f->agent);
	tls_ctx_free(f->server_ctx);
	pki_free(f->pki);
	event_base_free(f->base);
	unlink(f->certificate);
	unlink(f->key);
	unlink(f->ca);
	rmdir(f->folder);
	free(f);
	return 0;
}

/* ---- a run that listens ---- */

static bool leave(struct heard *h, char which)
{
	if (h->detach_in != which)
		return false;
	h->detach_in = '\0';
	h->detached = true;
	telex_run_detach(h->run);
	return true;
}

static void on_started(struct telex_run *run, const struct telex_started *started, void *arg)
{
	struct heard *h = arg;

	h->wrong = h->wrong || h->started || h->done || h->detached;
	h->started = true;
	h->created = started->created;
	h->pid = started->pid;
	h->stdin_offset = started->stdin_offset;
	h->on_disconnect = started->on_disconnect;
	h->disconnect_wait_ms = started->disconnect_wait_ms;
	h->counts = started->counts;
	h->queued = started->queued;
	h->terminal = started->terminal;
	h->stdin_held = started->stdin_held;
	assert_string_equal(started->process_id, telex_run_id(run));
	leave(h, 's');
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	const uint8_t *bytes = data;
	struct heard *h = arg;

	h->wrong = h->wrong || !h->started || h->eof[stream] || h->done || h->detached ||
	           h->is_interrupted;
	h->eof[stream] = eof;
	if (leave(h, 'o'))
		return;
	for (size_t i = 0; i < len; i++, h->length[stream]++) {
		if (h->pattern && bytes[i] != fake_pattern(h->length[stream]))
			h->wrong = true;
		if (h->length[stream] < sizeof(h->text[0]) - 1)
			h->text[stream][h->length[stream]] = (char)bytes[i];
	}
	if (!h->keep)
		telex_run_consumed(run, stream, len);
}

static void on_room(struct telex_run *run, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || h->done || h->detached;
	h->room = true;
	leave(h, 'r');
}

static void on_stdin_closed(struct telex_run *run, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || h->done || h->detached || h->stdin_closed;
	h->stdin_closed = true;
	leave(h, 'c');
}

static void on_running(struct telex_run *run, uint32_t pid, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || !h->queued || h->running || h->done || h->detached;
	h->running = true;
	h->pid = pid;
	leave(h, 'n');
}

static void on_interrupted(struct telex_run *run, const struct telex_error *why, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || h->is_interrupted || h->done || h->detached;
	h->is_interrupted = true;
	h->interrupted++;
	h->why = *why;
	leave(h, 'i');
}

static void on_resumed(struct telex_run *run, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || !h->is_interrupted || h->done || h->detached;
	h->is_interrupted = false;
	h->resumed++;
	leave(h, 'm');
}

static void on_unsure(struct telex_run *run, int signo, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || h->is_interrupted || h->done || h->detached;
	h->unsure++;
	h->unsure_signo = signo;
}

static void on_skipped(
    struct telex_run *run, enum telex_stream stream, uint64_t from, uint64_t to, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || h->is_interrupted || h->done || h->detached || to <= from ||
	           from != h->length[stream];
	h->skips++;
	h->skipped_from = from;
	h->skipped_to = h->length[stream] = to;
	leave(h, 'k');
}

static void on_done(struct telex_run *run, const struct telex_exit *exit,
    const struct telex_error *error, void *arg)
{
	struct heard *h = arg;

	(void)run;
	h->wrong = h->wrong || h->done || h->detached || (exit == NULL) == (error == NULL);
	h->done = true;
	h->exited = exit != NULL;
	if (exit != NULL) {
		h->exit = *exit;
		snprintf(h->signal_name, sizeof(h->signal_name), "%s",
		    exit->signal_name != NULL ? exit->signal_name : "");
		snprintf(h->ended_by, sizeof(h->ended_by), "%s", exit->ended_by);
	} else {
		h->error = *error;
	}
	leave(h, 'd');
	h->run = NULL;
}

const struct telex_run_ops heard_ops = {.started = on_started,
    .output = on_output,
    .stdin_room = on_room,
    .stdin_closed = on_stdin_closed,
    .running = on_running,
    .interrupted = on_interrupted,
    .resumed = on_resumed,
    .signal_unsure = on_unsure,
    .done = on_done};

void heard_command(struct fixture *f, struct heard *h, const struct telex_command *command)
{
	struct telex_error error;

	if (telex_run(f->client, &h->run, command, &heard_ops, h, &error) != 0)
		fail_msg("%s", error.message);
}

void heard_run(struct fixture *f, struct heard *h, bool with_stdin, const char *argv0,
    const char *a, const char *b)
{
	const char *argv[] = {argv0, a, b, NULL};
	const struct telex_command command = {.argv = argv, .stdin_pipe = with_stdin};

	heard_command(f, h, &command);
}

void heard_attach(struct fixture *f, struct heard *h, const struct telex_attach *attach, bool skips)
{
	struct telex_run_ops ops = heard_ops;
	struct telex_error error;

	if (skips)
		ops.skipped = on_skipped;
	if (telex_attach(f->client, &h->run, attach, &ops, h, &error) != 0)
		fail_msg("%s", error.message);
}
