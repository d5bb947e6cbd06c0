/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/revocations.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "agent/keeper/file_put.h"

static int path_of(char out[PATH_MAX], const struct config *c, struct err *e)
{
	int n = c->revocations != NULL
	            ? snprintf(out, PATH_MAX, "%s", c->revocations)
	            : snprintf(out, PATH_MAX, "%s/revocations.pem", c->state_directory);

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, TX_ETOOBIG, "the path of the revocation list is too long");
	return 0;
}

int revocations_open(const struct config *c)
{
	char path[PATH_MAX];

	if (path_of(path, c, NULL) != 0)
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

int revocations_put(const struct config *c, const void *pem, size_t len, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, c, e);

	return rc != 0 ? rc : file_put(path, pem, len, 0644, e);
}
