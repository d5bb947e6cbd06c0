/* SPDX-License-Identifier: Apache-2.0 */
/* Who a process runs as. */
#ifndef TX_KEEPER_USER_H
#define TX_KEEPER_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

struct user {
	bool bare;   /* a number without an entry: in no other groups */
	bool change; /* ids and groups are to be set; else the agent's own are kept */
	uid_t uid;
	gid_t gid;
	bool own_group; /* gid is the user's, or one that the database has the user in */
	gid_t *groups;
	size_t n_groups;
	char *name, *home, *shell;
	char *group; /* as it was asked for; NULL: none was */
};

/*
 * The user of a spec: "NAME" or "NAME:GROUP", or NULL: the agent's own. Each may be a number: of an
 * entry, or for a user with a group, and a group, of none. TX_ENOENT: no such user or group.
 * TX_EPERM: another user, and the agent is not root. TX_ESYS: the lookup failed. TX_ENOMEM. *out is
 * the caller's: user_free.
 */
int user_lookup(struct user **out, const char *spec, struct err *e);
void user_free(struct user *u);

/* ids of a name, for the workers; no groups. TX_ENOENT, TX_ESYS. */
int user_ids(const char *name, uid_t *uid, gid_t *gid, struct err *e);

#endif
