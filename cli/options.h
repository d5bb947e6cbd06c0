/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a verb, GNU style: "-a", "-abc", "-oVALUE", "-o VALUE", "--long", "--long=VALUE",
 * "--long VALUE"; "--" ends them. The global options (-w, --context, --json, --reconnect,
 * -q, -v) and --help are
 * understood everywhere, unless the verb has one of the same name. A mistake is said here, with the
 * nearest right word.
 *
 *     struct options o;
 *     const char *value;
 *     int id;
 *
 *     options_start(&o, cli, &cmd_kill, specs, argc, argv);
 *     while ((id = options_next(&o, &value)) > 0)
 *             switch (id) { case 's': … }
 *     if (id < 0)
 *             return options_end(&o);
 */
#ifndef TX_CLI_OPTIONS_H
#define TX_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/cli.h"
#include "common/err.h"

struct options_spec {
	int id;           /* > 0; 0 ends the table */
	char letter;      /* '\0': none */
	const char *name; /* without dashes; NULL: none */
	bool takes;       /* a value */
};

/* The global ones. */
extern const struct options_spec options_globals[];

struct options {
	struct cli *cli;
	const struct cli_verb *verb; /* NULL: telex itself, before the verb */
	const struct options_spec *specs;
	bool stop_at_operand; /* set after options_start: options end at the first operand (run) */
	/* Set after options_start: "-9" and "-KILL" are this option, with the signal as its value.
	 */
	int signal_id;
	/* Set after options_start: what begins with a dash and is no option, as this says, which
	 * takes it (chmod -x). NULL: there is no such. */
	bool (*take)(const char *arg, void *take_arg);
	void *take_arg;
	int argc, index;
	char **argv;
	const char *cluster; /* what is left of "-abc" */
	/* What is no option, in order, NULL-terminated; complete when options_next returned 0.
	 * Pointers into argv. */
	const char **operands;
	size_t n_operands;
	int status; /* when options_next returned negative */
};

/* argv[0] is skipped. specs may be NULL. */
void options_start(struct options *o, struct cli *cli, const struct cli_verb *verb,
    const struct options_spec *specs, int argc, char **argv);
/* The next option's id and its value, 0 at the end, or -1: stop, and answer options_end. */
int options_next(struct options *o, const char **value);
/* A mistake in the arguments: says it and where the help is. Returns CLI_TELEX. */
int options_usage(struct options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for the value of option `id`: "--nice: '50' is out of range …". */
int options_wrong(struct options *o, int id, const struct err *e);
/* 1 to 64 letters, digits, '.', '_', '-', as the names of processes and groups are. 0, or
 * TX_EINVAL.
 */
int options_check_id(const char *text, struct err *e);
/* Frees the operands and returns o->status (CLI_OK after --help, CLI_TELEX after a mistake). */
int options_end(struct options *o);

/* For verbs without options or operands: CLI_OK and *go, or the status to answer. */
int options_none(struct cli *cli, const struct cli_verb *verb, int argc, char **argv, bool *go);

/* "; did you mean 'x'?" for the nearest of words[0..n), or "". In a static buffer. */
const char *options_nearest(const char *word, const char *const *words, size_t n);

#endif
