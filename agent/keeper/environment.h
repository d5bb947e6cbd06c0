/* SPDX-License-Identifier: Apache-2.0 */
/* The environment that a process begins with. */
#ifndef TX_KEEPER_ENVIRONMENT_H
#define TX_KEEPER_ENVIRONMENT_H

#include <stdbool.h>
#include <stddef.h>

struct user;

/* In every process's environment, and in what it starts: whose it is. A client cannot set it. */
#define ENVIRONMENT_ID "TELEX_PROCESS_ID"

struct environment_plan {
	const struct user *user;
	const char *process_id;
	bool clean; /* nothing but extra and the id */
	/* "NAME=VALUE"; over the basic ones, and of one name the later wins. */
	char *const *extra;
	size_t n_extra;
};

/*
 * HOME USER LOGNAME SHELL PATH of the user, TELEX_PROCESS_ID, and extra. NULL-terminated; one
 * allocation, the caller's, that points into extra's texts: those must outlive it. NULL: no memory.
 */
char **environment_new(const struct environment_plan *plan);

/* Where a program is looked for when there is no PATH. */
const char *environment_path(const struct user *u);

#endif
