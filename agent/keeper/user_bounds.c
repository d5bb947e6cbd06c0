/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/user_bounds.h"

#include <stdio.h>

int user_bounds(const struct ceiling *c, const struct user *u, struct err *e)
{
	char number[16];
	int rc = c == NULL ? 0 : ceiling_check_uid(c, u->name, u->uid, e);

	if (rc != 0 || c == NULL || !u->change)
		return rc;
	snprintf(number, sizeof(number), "%u", (unsigned)u->gid);
	return ceiling_check_gid(c, u->group != NULL ? u->group : number, u->gid, u->own_group, e);
}
