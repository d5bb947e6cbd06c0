/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd_io.h"
#include "common/policy.h"

static int refuse(const char *name, const char *why, policy_problem problem, void *arg)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: %s", name, why);
	problem(text, arg);
	return TX_EINVAL;
}

int policy_read(struct policy **out, int fd, const char *name, policy_problem problem, void *arg)
{
	struct stat st;
	char *text;
	size_t got = 0;
	int rc, error;

	if (fstat(fd, &st) != 0)
		return refuse(name, strerror(errno), problem, arg);
	if (!S_ISREG(st.st_mode))
		return refuse(name, "it is not a regular file", problem, arg);
	/* One more than is allowed: policy_parse says so. */
	text = malloc(POLICY_MAX_BYTES + 1);
	if (text == NULL)
		return TX_ENOMEM;
	error = fd_read_all(fd, text, POLICY_MAX_BYTES + 1, &got);
	if (error != 0)
		rc = refuse(name, strerror(error), problem, arg);
	else
		rc = policy_parse(out, text, got, name, problem, arg);
	free(text);
	return rc;
}
