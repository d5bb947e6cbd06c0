/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent needs beside its certificate to be started: telexd.conf and policy.conf in a
 * folder. */
#ifndef TX_CLI_AGENT_SETUP_H
#define TX_CLI_AGENT_SETUP_H

#include "common/err.h"

struct agent_setup {
	const char *dir;        /* where agent.pem, agent.key and ca.pem are */
	const char *listen;     /* HOST:PORT; NULL: telexd's default */
	const char *renew_from; /* HOST:PORT of an authority; NULL: not renewed by itself */
	const char *authority_dir, *authority_listen; /* this agent is an authority, too; or NULL */
	const char *operator_identity; /* whom policy.conf grants the role operator; NULL: no policy
	                                  is written */
};

/* Writes each of the two that is not there; one that is stays as it is. TX_EINVAL: a path or
 * address that cannot stand in the file. */
int agent_setup_write(const struct agent_setup *s, struct err *e);

#endif
