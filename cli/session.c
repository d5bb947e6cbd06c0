/* SPDX-License-Identifier: Apache-2.0 */
/* One verb's connection: context + -w -> telex_client, and failures in words. */
#include "cli/session.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/end.h"
#include "cli/field_words.h"
#include "cli/output.h"
#include "cli/renewing.h"
#include "cli/run_json.h"
#include "cli/say.h"
#include "common/mem.h"
#include "common/tls_cert.h"

static const char no_context[] =
    "no agent is chosen: start one on this machine with `telex dev --detach`, or name one with "
    "`telex context create NAME --host HOST --cert FILE --key FILE --ca FILE --use`";

static struct context copy_of(const struct context *c)
{
	return (struct context){
	    .name = c->name ? xstrdup(c->name) : NULL,
	    .host = xstrdup(c->host),
	    .certificate = xstrdup(c->certificate),
	    .key = xstrdup(c->key),
	    .ca = xstrdup(c->ca),
	    .server_name = c->server_name ? xstrdup(c->server_name) : NULL,
	    .renew_from = c->renew_from ? xstrdup(c->renew_from) : NULL,
	    .revocations = c->revocations ? xstrdup(c->revocations) : NULL,
	};
}

static int usage(struct telex_error *error, const struct err *e)
{
	*error = (struct telex_error){.kind = TELEX_ERROR_USAGE};
	snprintf(error->message, sizeof(error->message), "%s", e->message);
	return -1;
}

/* s->context is filled; makes the client. A server name belongs to the context's own host alone. */
static int start(struct session *s, const char *on, struct telex_error *error)
{
	struct telex_options options = {
	    .address = s->address,
	    .server_name = on ? NULL : s->context.server_name,
	    .certificate_file = s->context.certificate,
	    .key_file = s->context.key,
	    .ca_file = s->context.ca,
	    .reconnect_ms = s->reconnect_ms,
	    .revocations_file = s->context.revocations,
	};
	struct err e;

	if (target_parse(on ? on : s->context.host, s->address, &e) < 0)
		return usage(error, &e);
	s->elsewhere = on && strcmp(s->address, s->context.host) != 0;
	s->base = event_base_new();
	if (!s->base) {
		err_set(&e, TX_ENOMEM, "cannot make an event loop");
		return usage(error, &e);
	}
	return telex_client_new(&s->client, s->base, &options, error);
}

int session_open_context(
    struct session *s, const struct context *c, const char *on, struct telex_error *error)
{
	*s = (struct session){.context = copy_of(c)};
	if (start(s, on, error) == 0)
		return 0;
	session_close(s);
	return -1;
}

/* The context that --context, TELEX_CONTEXT or `telex context use` chose. */
static int choose(struct session *s, const struct cli *cli, struct telex_error *error)
{
	char *current = NULL;
	const char *name = cli->context;
	struct err e;
	int r = 0;

	if (!name) {
		r = context_current(&current, &e);
		if (r == TX_ENOENT)
			err_set(&e, r, "%s", no_context);
		name = current;
	}
	if (r == 0)
		r = context_load(name, &s->context, &e);
	free(current);
	return r < 0 ? usage(error, &e) : 0;
}

static void warn_of_list(const struct session *s)
{
	int64_t next = telex_client_revocations_next(s->client);
	char date[TLS_TIME_SIZE];

	if (next != 0 && next < (int64_t)time(NULL))
		say_note("the revocation list %s is too old: a newer one was to be there by %s; "
		         "agents that were revoked since are not known",
		    s->context.revocations, tls_time_text(date, next));
}

int session_try(struct session *s, const struct cli *cli, struct telex_error *error)
{
	*s = (struct session){.json = cli->json, .reconnect_ms = cli->reconnect_ms};
	if (choose(s, cli, error) < 0 || start(s, cli->on, error) < 0)
		return -1;
	renewing_aside(&s->context, cli->verbosity < 0);
	warn_of_list(s);
	say_detail("context %s, agent %s", s->context.name, s->address);
	return 0;
}

int session_open(struct session *s, const struct cli *cli)
{
	struct telex_error error;

	if (session_try(s, cli, &error) == 0)
		return CLI_OK;
	session_fail(s, &error);
	session_close(s);
	return CLI_TELEX;
}

void session_close(struct session *s)
{
	telex_client_free(s->client);
	if (s->base) {
		/* What libevent still holds for callbacks that it had put off is let go in a turn.
		 */
		event_base_loop(s->base, EVLOOP_NONBLOCK);
		event_base_free(s->base);
	}
	context_clear(&s->context);
	s->client = NULL;
	s->base = NULL;
}

void session_done(const struct telex_error *error, void *session)
{
	struct session *s = session;

	s->done = true;
	s->failed = error != NULL;
	if (error)
		s->error = *error;
	event_base_loopbreak(s->base);
}

int session_wait(struct session *s, int asked)
{
	if (asked < 0)
		return -1;
	while (!s->done && event_base_loop(s->base, EVLOOP_ONCE) == 0)
		;
	if (!s->done) {
		s->error = (struct telex_error){.kind = TELEX_ERROR_SYSTEM};
		snprintf(s->error.message, sizeof(s->error.message),
		    "the event loop ended without an answer");
		return -1;
	}
	s->done = false;
	return s->failed ? -1 : 0;
}

int session_answer(struct session *s, int asked)
{
	if (session_wait(s, asked) == 0)
		return CLI_OK;
	session_fail(s, &s->error);
	return CLI_TELEX;
}

static const char *way_out(const struct session *s, const struct telex_error *error)
{
	bool dev = s->context.name && strcmp(s->context.name, "dev") == 0 && !s->elsewhere;

	switch (error->kind) {
	case TELEX_ERROR_STATUS:
		if (strcmp(error->reason, "NO_SUCH_PROCESS") == 0)
			return " (`telex ps -a` shows those that the agent holds)";
		if (strcmp(error->reason, "PROCESS_EXISTS") == 0)
			return " (the command or an option of it differs; `telex attach` goes on "
			       "with the one that is there)";
		if (strcmp(error->reason, "NO_SUCH_GROUP") == 0)
			return " (it is there while a process of it is; `telex --json ps -a` shows "
			       "the groups)";
		if (strcmp(error->reason, "PROCESS_RUNNING") == 0)
			return " (`telex kill` ends it; `telex rm -f` does both)";
		if (strcmp(error->reason, "NOT_ALLOWED") == 0)
			return "; on the agent's machine `telex policy explain IDENTITY …` tells "
			       "what is allowed";
		return "";
	case TELEX_ERROR_CONNECT:
		return dev ? " (`telex dev --detach` starts the agent of this machine)"
		           : " (is telexd running there, on this port?)";
	case TELEX_ERROR_CERTIFICATE:
		return dev ? " (`telex dev --detach` makes new certificates for this machine)" : "";
	case TELEX_ERROR_NOT_TLS:
		return " (is this telexd's port?)";
	default:
		return "";
	}
}

/* What went wrong, in the words of who typed it: option (or nothing) and the rest. */
struct words {
	const char *option, *rest;
};

static struct words words_of(const struct telex_error *error)
{
	struct words w = {.rest = error->message};

	if (error->kind == TELEX_ERROR_STATUS)
		w.option = field_words(error->message, &w.rest);
	if (!w.option)
		w.option = "";
	if (!w.rest[0])
		w.rest = "it failed, without a reason given";
	return w;
}

static void say_request(const struct telex_error *error)
{
	if (error->request_id[0])
		say_detail("request %s in the agent's audit log", error->request_id);
}

void session_say(const struct session *s, const struct telex_error *error)
{
	const struct words w = words_of(error);

	say_error("%s%s%s", w.option, w.rest, way_out(s, error));
	say_request(error);
}

void session_say_of(
    const struct session *s, const char *verb, const char *name, const struct telex_error *error)
{
	const bool ended = strcmp(error->reason, "PROCESS_ENDED") == 0;
	const struct words w = words_of(error);

	if (error->kind != TELEX_ERROR_STATUS && error->kind != TELEX_ERROR_USAGE) {
		session_say(s, error);
		return;
	}
	say_error("%s %s: %s%s%s%s", verb, name, ended ? "it has ended already: " : "", w.option,
	    w.rest, way_out(s, error));
	say_request(error);
}

static void answer_json(const struct session *s, const struct telex_error *error)
{
	if (s->json)
		output_json(json_pack("{s:o}", "error", end_error_json(error)));
}

void session_fail(const struct session *s, const struct telex_error *error)
{
	session_say(s, error);
	answer_json(s, error);
}

int session_answer_of(struct session *s, const char *verb, const char *name, int asked)
{
	if (session_wait(s, asked) == 0)
		return CLI_OK;
	session_say_of(s, verb, name, &s->error);
	answer_json(s, &s->error);
	return s->error.kind == TELEX_ERROR_STATUS ? CLI_FAILED : CLI_TELEX;
}

int session_fail_event(const struct session *s, const struct telex_error *error)
{
	session_say(s, error);
	if (s->json)
		output_json(run_json_error(error));
	return CLI_TELEX;
}
