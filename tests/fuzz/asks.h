/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program on libtelex: each of its calls, with callbacks that look at all that they are given.
 */
#ifndef TX_TESTS_FUZZ_ASKS_H
#define TX_TESTS_FUZZ_ASKS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/telex.h"
#include "tests/fuzz/fuzz.h"

#define ASKS_MAX 4

/* One call that is open. */
struct ask {
	bool open;
	struct telex_run *run;
	struct telex_reader *reader;
	struct telex_file_reader *file;
	struct telex_file_writer *writer;
	struct telex_transfer *transfer;
	struct telex_watch *watch;
	size_t owed[3]; /* consumed later, by stream */
};

struct asks {
	struct ask all[ASKS_MAX];
	const char *folder; /* where trees go, and come from */
	bool hold;          /* nothing is consumed at once */
};

/* Begins the call of that number, where there is room. */
void asks_begin(struct asks *a, struct telex_client *client, uint8_t which);
/* The program does something with one that it has. */
void asks_act(struct asks *a, struct fuzz_input *in);
/* A text that the program is given is one, whatever the agent said. NULL is allowed. */
void asks_look(const char *text);
/* The end of a call: `arg` is its ask. */
void asks_done(const struct telex_error *error, void *arg);
/* How many are open. */
unsigned asks_open(const struct asks *a);

#endif
