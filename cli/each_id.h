/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that ask the agent the same thing about one process after another. */
#ifndef TX_CLI_EACH_ID_H
#define TX_CLI_EACH_ID_H

#include <jansson.h>

#include "cli/options.h"
#include "cli/session.h"

struct each_id {
	const char *verb; /* "kill", for the words */
	const char *did;  /* "sent": a boolean of the JSON answer */
	/* Asks; its end is session_done's with s. Returns what the asking call returned. */
	int (*ask)(struct session *s, const char *id, const void *arg);
	/* More for the JSON answer; may be NULL. */
	void (*tell)(json_t *object, const void *arg);
	const void *arg;
};

/* For every operand of o. CLI_OK; CLI_FAILED when the agent refused one; CLI_TELEX when it could
 * not be asked. */
int each_id(struct cli *cli, const struct options *o, const struct each_id *what);

#endif
