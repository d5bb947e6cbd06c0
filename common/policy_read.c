/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/policy.h"

static int refuse(const char *name, const char *why, policy_problem problem, void *arg)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: %s", name, why);
	problem(text, arg);
	return TX_EINVAL;
}

/* pread: the same open file may be with several workers, which share its offset. */
static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, text + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int policy_read(struct policy **out, int fd, const char *name, policy_problem problem, void *arg)
{
	struct stat st;
	char *text;
	ssize_t got;
	int rc;

	if (fstat(fd, &st) != 0)
		return refuse(name, strerror(errno), problem, arg);
	if (!S_ISREG(st.st_mode))
		return refuse(name, "it is not a regular file", problem, arg);
	/* One more than is allowed: policy_parse says so. */
	text = malloc(POLICY_MAX_BYTES + 1);
	if (text == NULL)
		return TX_ENOMEM;
	got = read_all(fd, text, POLICY_MAX_BYTES + 1);
	if (got < 0)
		rc = refuse(name, strerror(errno), problem, arg);
	else
		rc = policy_parse(out, text, (size_t)got, name, problem, arg);
	free(text);
	return rc;
}
