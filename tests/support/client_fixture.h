/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of libtelex share: an event base, a PKI with its files in a temporary folder, a
 * fake agent, a client, and a run whose callbacks write down what came. Loops end when a condition
 * holds; a guard timer fails what never does.
 */
#ifndef TX_TESTS_CLIENT_FIXTURE_H
#define TX_TESTS_CLIENT_FIXTURE_H

#include <stdbool.h>

#include "lib/telex.h"
#include "tests/support/fake_agent.h"
#include "tests/support/pki.h"

struct fixture {
	struct event_base *base;
	struct pki *pki;
	struct tls_ctx *server_ctx;
	struct fake_agent *agent;
	struct telex_client *client;
	char folder[64];
	char address[64];
	char certificate[96], key[96], ca[96]; /* files */
};

/* A run, and what was heard of it. */
struct heard {
	struct telex_run *run; /* NULL once it is done */
	bool started, created, done, room, stdin_closed,
	    wrong;    /* wrong: out of order, or not the pattern */
	bool keep;    /* do not say that output was consumed */
	bool pattern; /* stdout is the pattern, and not kept */
	bool queued, terminal, stdin_held, running, is_interrupted;
	unsigned interrupted, resumed, skips;
	struct telex_error why; /* of the last interruption */
	uint32_t pid;
	uint64_t stdin_offset;
	unsigned unsure;
	int unsure_signo;
	enum telex_disconnect on_disconnect;
	int64_t disconnect_wait_ms;
	bool counts;
	uint64_t length[3], skipped_from, skipped_to; /* the last */
	bool eof[3];
	char text[3][256];
	bool exited;
	struct telex_exit exit;
	char signal_name[32], ended_by[64]; /* of that: its own strings are gone */
	struct telex_error error;
	/* In that callback (a letter of "sorcdimnk"), leave. */
	char detach_in;
	bool detached;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* The fixture's own client again, with these options. */
void fixture_again(struct fixture *f, const struct telex_options *o);
/* Writes a pair's files and the authority's into the folder. */
void fixture_write(
    struct fixture *f, const struct pki_spec *spec, struct pki *issuer, const struct pki *trust);
/* A new client with these options' differences from the usual (fields that are NULL or 0 take
 * that). */
struct telex_client *fixture_client(struct fixture *f, const struct telex_options *o);

/* Starts "argv0 [a [b]]" with stdin or without. */
void heard_run(struct fixture *f, struct heard *h, bool with_stdin, const char *argv0,
    const char *a, const char *b);
void heard_command(struct fixture *f, struct heard *h, const struct telex_command *command);
/* Attaches; with `skips` it hears of what is lost, and else fails of it. */
void heard_attach(
    struct fixture *f, struct heard *h, const struct telex_attach *attach, bool skips);
extern const struct telex_run_ops heard_ops;

/* Turns the loop until *flag. An alarm ends the program when that never comes. */
void fixture_until(struct fixture *f, const bool *flag);
void fixture_turn(struct fixture *f);
#define FIXTURE_UNTIL(f, condition)                                                                \
	do {                                                                                       \
		while (!(condition))                                                               \
			fixture_turn(f);                                                           \
	} while (0)
/* Turns the loop for a moment, for what should not happen in it. */
void fixture_settle(struct fixture *f);

#endif
