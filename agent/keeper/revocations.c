/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/revocations.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/keeper/file_put.h"
#include "common/memfile.h"

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

int revocations_ask(struct link *l, const union km_any *any, int *fds)
{
	struct km_done done = {0};
	uint8_t *pem = NULL;
	size_t len = 0;
	struct err e;
	int rc;

	if (l->env->revocations == NULL)
		return link_refuse_why(
		    l, any->hdr.seq, KM_WHY_SYSTEM, "no revocation list is kept here");
	if (memfile_load(fds[0], REVOCATIONS_MAX, &pem, &len, &e) == TX_EPROTO)
		return link_violation(l, e.message);
	rc = pem == NULL ? e.code : l->env->revocations(pem, len, l->env->revocations_arg, &e);
	free(pem);
	if (rc != 0)
		return link_refuse_why(l, any->hdr.seq, KM_WHY_SYSTEM, e.message);
	return km_send(l->chan, KM_DONE, any->hdr.seq, &done, NULL, 0);
}
