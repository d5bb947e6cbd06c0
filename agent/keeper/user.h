/* SPDX-License-Identifier: Apache-2.0 */
/* Who a process runs as, and the environment that it begins with. */
#ifndef TX_KEEPER_USER_H
#define TX_KEEPER_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

struct user {
	bool change; /* ids and groups are to be set; else the agent's own are kept */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t n_groups;
	char *name, *home, *shell;
};

/*
 * The user of a spec: "NAME" or "NAME:GROUP", or NULL: the agent's own. TX_ENOENT: no such user or
 * group. TX_EPERM: another user, and the agent is not root. TX_ESYS: the lookup failed. TX_ENOMEM.
 * *out is the caller's: user_free.
 */
int user_lookup(struct user **out, const char *spec, struct err *e);
void user_free(struct user *u);

/* ids of a name, for the workers; no groups. TX_ENOENT, TX_ESYS. */
int user_ids(const char *name, uid_t *uid, gid_t *gid, struct err *e);

/*
 * HOME USER LOGNAME SHELL PATH of u, and extra[0..n) ("NAME=VALUE") over them; of one name the
 * later wins. NULL-terminated; one allocation that points into u's own texts not at all, into
 * extra's texts: those must outlive it. NULL: no memory.
 */
char **user_environment(const struct user *u, char *const *extra, size_t n);

#endif
