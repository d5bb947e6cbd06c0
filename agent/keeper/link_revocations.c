/* SPDX-License-Identifier: Apache-2.0 */
/* KM_REVOCATIONS: a worker has verified a newer revocation list. */
#include <stdlib.h>

#include "agent/keeper/link_internal.h"
#include "agent/keeper/revocations.h"
#include "common/memfile.h"

int link_on_revocations(struct link *l, const union km_any *any, int *fds)
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
