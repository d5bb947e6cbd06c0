/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything one machine needs to talk to itself, in one call: a CA, an agent certificate for
 * localhost, 127.0.0.1 and
 * ::1, and a user certificate, each in its file. For `telex dev` and for tests.
 *
 * May be repeated on the same folder: a CA that is still good is kept (so a client that trusts it
 * stays connected to what it trusts), the agent's and the user's keys and certificates are made
 * anew each time, and all are in the CA's ledger.
 */
#ifndef TX_CERTS_PROVISION_H
#define TX_CERTS_PROVISION_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct provision_options {
	const char *dir;         /* made with mode 0700 when it is not there (its parent must be) */
	const char *domain;      /* trust domain; NULL: IDENTITY_DOMAIN, or the kept CA's own */
	const char *agent;       /* the agent's name in its identity; NULL: "dev" */
	const char *user;        /* the user's name in its identity; NULL: "dev" */
	const char *const *sans; /* more DNS names and IP addresses for the agent; NULL: none */
	size_t sans_len;
	int64_t agent_ttl_s; /* 0: seven days */
	int64_t user_ttl_s;  /* 0: 24 hours */
};

/* Absolute when `dir` was. Names in dir: ca.pem ca.key agent.pem agent.key user.pem user.key */
struct provision_paths {
	char ca[PATH_MAX], ca_key[PATH_MAX];
	char agent[PATH_MAX], agent_key[PATH_MAX];
	char user[PATH_MAX], user_key[PATH_MAX];
};

/*
 * Fills *paths (may be NULL). Keys are 0600, certificates 0644, each written whole or not at all.
 * On failure the files that were there before are still usable together or are named in *e.
 */
int provision_dev(const struct provision_options *o, struct provision_paths *paths, struct err *e);

/* The paths alone; TX_ETOOBIG when they do not fit. */
int provision_paths_in(const char *dir, struct provision_paths *paths, struct err *e);

#endif
