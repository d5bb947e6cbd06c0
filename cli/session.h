/* SPDX-License-Identifier: Apache-2.0 */
/* A connection to the agent that the global options and the context name, for one verb. */
#ifndef TX_CLI_SESSION_H
#define TX_CLI_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/context.h"
#include "cli/target.h"
#include "lib/telex.h"

struct event_base;

struct session {
	struct event_base *base;
	struct telex_client *client;
	struct context context;
	char address[TARGET_MAX];
	bool elsewhere; /* -w named another agent than the context's */
	bool json;
	int64_t reconnect_ms; /* as in telex_options */
	void *data;           /* the verb's own */
	/* Set by session_done. */
	bool done, failed;
	struct telex_error error;
};

/* Chooses context and address, reads the certificates. CLI_OK, or CLI_TELEX and it was said why.
 * Connects later. */
int session_open(struct session *s, const struct cli *cli);
/* The same, but says nothing: 0, or -1 and *error; session_close it then, too. */
int session_try(struct session *s, const struct cli *cli, struct telex_error *error);
/* The same for a context that the caller has at hand (copied). Says nothing: 0, or -1 and *error.
 */
int session_open_context(
    struct session *s, const struct context *c, const char *on, struct telex_error *error);
void session_close(struct session *s);

/* The telex_done of a question whose arg is the session. */
void session_done(const struct telex_error *error, void *session);
/* Waits for session_done. asked: what the asking call returned, with s->error as its error. 0, or
 * -1 and s->error. */
int session_wait(struct session *s, int asked);
/* The same, and says a failure: CLI_OK or CLI_TELEX. */
int session_answer(struct session *s, int asked);

/* The same about something that is named, as "kill --group" and the group; what the agent refuses
 * is CLI_FAILED. */
int session_answer_of(struct session *s, const char *verb, const char *name, int asked);

/* The failure in one sentence, with the way out where there is one. */
void session_say(const struct session *s, const struct telex_error *error);
/* The same about one process or group: what the agent refuses begins with the verb and its name. */
void session_say_of(
    const struct session *s, const char *verb, const char *name, const struct telex_error *error);
/* session_say; with --json an object {"error": …} on stdout too, so that who reads that alone
 * knows.
 */
void session_fail(const struct session *s, const struct telex_error *error);
/* The same for a run, whose answer is events. CLI_TELEX. */
int session_fail_event(const struct session *s, const struct telex_error *error);

#endif
