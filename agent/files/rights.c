/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/rights.h"

bool rights_stay(const struct roots *r, int from_fd, const char *from_name, int to_fd,
    const char *to_name, bool folder)
{
	if (folder && !roots_allow_tree(r, ROOTS_WRITE, from_fd, from_name))
		return false;
	if (!roots_reach(r, ROOTS_READ, to_fd, to_name, folder))
		return true;
	return folder ? roots_allow_tree(r, ROOTS_READ, from_fd, from_name)
	              : roots_reach(r, ROOTS_READ, from_fd, from_name, false);
}
