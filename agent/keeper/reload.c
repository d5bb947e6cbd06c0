/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/reload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/keeper/config_internal.h"
#include "agent/keeper/notify.h"
#include "common/duration.h"
#include "common/file_put.h"
#include "common/log.h"

static void tell_problem(const char *text, void *arg)
{
	(void)arg;
	log_error("%s", text);
}

void reload_finish_renewal(const struct config *c)
{
	if (file_finish_pair(c->certificate, c->key))
		log_warn("a renewal of %s was cut off; it is finished now", c->certificate);
}

int reload_read(struct config **out, const struct config *now)
{
	struct config *c = NULL;
	int rc = config_load(&c, now->file, tell_problem, NULL);

	if (rc == 0) {
		reload_finish_renewal(c);
		rc = config_check_files(c, tell_problem, NULL);
	}
	if (rc == 0 && strcmp(c->state_directory, now->state_directory) != 0)
		log_warn("state_directory stays %s until the agent is started anew",
		    now->state_directory);
	if (rc == 0)
		rc = config_set_string(&c->state_directory, now->state_directory);
	if (rc == 0 && strcmp(c->cgroup, now->cgroup) != 0)
		log_warn("cgroup stays %s until the agent is started anew", now->cgroup);
	if (rc == 0)
		*out = c;
	else
		config_unref(c);
	return rc;
}

void reload_notify(void)
{
	char text[64];

	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
	    clock_monotonic_ns() / 1000);
	notify_send(text);
}
