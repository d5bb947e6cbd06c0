/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `telex watch`. */
#ifndef TX_CLI_WATCH_OPTIONS_H
#define TX_CLI_WATCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "lib/telex.h"

/* What is done with what is told. */
enum watch_way_kind { WATCH_LINES, WATCH_EXEC, WATCH_EXEC_REMOTE, WATCH_MIRROR };

struct watch_options {
	struct options options;
	struct telex_watch_options o; /* its lists are ours */
	enum watch_way_kind way;
	const char *command; /* of EXEC, EXEC_REMOTE */
	const char *local;   /* of MIRROR */
	bool delete_extraneous;
	bool null; /* names end with a NUL */
	bool paths_only;
	uint64_t count;     /* 0: without end */
	int64_t timeout_ms; /* 0: none */
	const char **include, **exclude;
	size_t n_include, n_exclude;
};

extern const struct options_spec watch_options_specs[];

/* 0, or -1 and *status is the verb's. Free it in any case. */
int watch_options_parse(struct watch_options *w, struct cli *cli, const struct cli_verb *verb,
    int argc, char **argv, int *status);
void watch_options_free(struct watch_options *w);

#endif
