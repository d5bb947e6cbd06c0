/* SPDX-License-Identifier: Apache-2.0 */
/* The command of --exec and --exec-remote: a shell's text, and what it is given. */
#ifndef TX_CLI_WATCH_COMMAND_H
#define TX_CLI_WATCH_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/watch_names.h"
#include "lib/telex.h"

struct watch_command {
	char *text;     /* for sh -c */
	bool arguments; /* it takes the names as arguments, and nothing on its standard input */
	bool null;      /* names on standard input end with a NUL */
	struct watch_names *names;
	const char *const *roots;
};

/* text: {} as a word of its own is where the names go. */
void watch_command_init(
    struct watch_command *c, const char *text, bool null, const char *const *roots);
void watch_command_clear(struct watch_command *c);

/* A changed path is a name for the next run. How many bytes they take. */
size_t watch_command_add(struct watch_command *c, const struct telex_change *change);

/* What one run is given. */
struct watch_command_run {
	char **argv; /* "sh", "-c", …, NULL */
	char *input; /* for its standard input; NULL: nothing */
	size_t input_len;
	char *env[3]; /* TELEX_CLOCK, TELEX_OVERFLOW, NULL */
	size_t n;     /* names */
	bool more;    /* there are more than fit into its arguments */
};
/* Takes the names. argv_max: bytes of names that arguments may have. */
void watch_command_take(struct watch_command *c, struct watch_command_run *run, size_t argv_max,
    const char *clock, bool overflow);
void watch_command_run_clear(struct watch_command_run *run);

/* Says how a run ended, where that is not what one hopes for. how: "exit 3". */
void watch_command_say(const struct watch_command *c, const char *how, bool well, bool goes_on);

#endif
