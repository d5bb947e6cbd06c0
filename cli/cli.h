/* SPDX-License-Identifier: Apache-2.0 */
/* What every verb of the CLI is given, and what it may answer. One verb a file: cmd_<verb>.c
 * defines `cmd_<verb>`. */
#ifndef TX_CLI_CLI_H
#define TX_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

struct options_spec;

enum cli_status {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_TIMEOUT = 124, /* --timeout ended it */
	CLI_TELEX = 125,   /* telex itself failed: connection, certificate, denied, bad usage */
	CLI_NOT_EXEC = 126,
	CLI_NOT_FOUND = 127,
};

/* The global options. */
struct cli {
	const char *on;      /* -w, or NULL: the context's host */
	const char *context; /* --context or TELEX_CONTEXT, or NULL: the current one */
	bool json;
	int64_t reconnect_ms; /* --reconnect; 0: the default, negative: not at all */
	int verbosity;        /* -1 quiet, 0, 1 or more */
};

struct cli_verb {
	const char *name;
	const char *summary; /* one line, for `telex help` */
	const char *help;    /* the whole --help: examples first */
	/* For completion: the options, and what the first operand may be (NULL-terminated words, or
	 * the id of a process). Any may be NULL. */
	const struct options_spec *specs;
	const char *const *words;
	bool takes_id;
	/* argv[0] is the verb. Returns the exit status. */
	int (*run)(struct cli *cli, int argc, char **argv);
};

/* The verbs, by name; the last has a NULL name. */
extern const struct cli_verb *const cli_verbs[];

#endif
