/* SPDX-License-Identifier: Apache-2.0 */
/* KM_FILES: a client's first work on files, as a user; or one more call that watches. */
#include <errno.h>
#include <unistd.h>

#include "agent/keeper/bounds.h"
#include "agent/keeper/helpers.h"
#include "agent/keeper/link_internal.h"
#include "agent/keeper/start.h"
#include "agent/keeper/watchers.h"

static int provide(struct link *l, const struct km_files *m, const char *user,
    struct km_files_reply *reply, int *fd, struct km_refused *why)
{
	if (m->watch != 0)
		return watchers_connect(l->env->watchers, m->owner, user, m->key, reply, fd, why);
	return helpers_start(l->env->helpers, m->owner, user, reply, fd, why);
}

int link_on_files(struct link *l, const union km_any *any, int *fds)
{
	const struct km_files *m = &any->files;
	const char *user = m->user[0] != '\0' ? m->user : NULL;
	struct km_files_reply reply;
	struct km_refused why;
	int fd = -1, rc = 0;

	(void)fds;
	if (m->owner[0] == '\0')
		return link_violation(l, "files for nobody");
	if (m->watch > 1)
		return link_violation(l, "files, and whether they are watched is not said");
	if (!bounds_files(l, m, user != NULL ? user : starter_own_name(l->env->starter), &rc))
		return rc;
	if (l->env->stopping)
		return link_refuse_why(
		    l, m->hdr.seq, KM_WHY_SHUTTING_DOWN, "the agent is shutting down");
	if (provide(l, m, user, &reply, &fd, &why) != 0)
		return link_refuse(l, m->hdr.seq, &why);
	rc = km_send(l->chan, KM_FILES_REPLY, m->hdr.seq, &reply, &fd, 1);
	close(fd);
	if (rc == TX_EAGAIN)
		rc = link_refuse_system(l, m->hdr.seq, EMFILE, "cannot give the files' socket");
	return rc;
}
