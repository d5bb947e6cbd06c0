/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/agent_setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/certfile.h"
#include "cli/paths.h"
#include "cli/policy_file.h"
#include "common/mem.h"

/* Into single quotes of the configuration file; no line break may be in it. */
static int quote(char **out, const char *text, struct err *e)
{
	char *p = xmalloc(strlen(text) * 2 + 3);

	*out = p;
	*p++ = '\'';
	for (; *text != '\0'; text++) {
		if (*text == '\n' || *text == '\r')
			return err_set(
			    e, TX_EINVAL, "a name with a line break cannot stand in telexd.conf");
		if (*text == '\'' || *text == '\\')
			*p++ = '\\';
		*p++ = *text;
	}
	*p++ = '\'';
	*p = '\0';
	return 0;
}

/* One line more; value NULL: none. Takes *text. */
static int add(char **text, const char *format, const char *value, struct err *e)
{
	char *quoted = NULL, *line, *longer;
	int rc;

	if (value == NULL)
		return 0;
	rc = quote(&quoted, value, e);
	if (rc == 0) {
		const char *at = strchr(format, '@');

		line = xasprintf("%.*s%s%s\n", (int)(at - format), format, quoted, at + 1);
		longer = xasprintf("%s%s", *text, line);
		free(line);
		free(*text);
		*text = longer;
	}
	free(quoted);
	return rc;
}

/* To be filled in by who knows what the agent is for. */
static const char ceiling[] =
    "# What no policy and no worker gets beyond. Without it what the policy allows is all that "
    "bounds\n"
    "# them, root included: say here what this agent is for, and take the # away.\n"
    "#ceiling {\n"
    "#\troot = false\n"
    "#\tusers = {\"deploy\", \"1000-59999\"}\n"
    "#\tprograms = {\"/usr/bin/*\", \"/opt/app/bin/*\"}\n"
    "#\tenvironment = {\"LANG\", \"LC_*\", \"TERM\", \"TZ\", \"APP_*\"}\n"
    "#\tfolders = {\"/srv\", \"/home\"}\n"
    "#\tany_process = false\n"
    "#}\n";

static int compose(char **out, const struct agent_setup *s, const char *dir, struct err *e)
{
	char *in[5] = {xasprintf("%s/agent.pem", dir), xasprintf("%s/agent.key", dir),
	    xasprintf("%s/ca.pem", dir), xasprintf("%s/policy.conf", dir),
	    xasprintf("%s/state", dir)};
	char *authority = NULL;
	int rc = s->authority_dir != NULL ? paths_absolute(s->authority_dir, &authority, e) : 0;

	*out = xstrdup("# telexd(8) says what else there is.\n");
	if (rc == 0)
		rc = add(out, "listen = {@}", s->listen, e);
	if (rc == 0)
		rc = add(out, "certificate = @", in[0], e);
	if (rc == 0)
		rc = add(out, "key = @", in[1], e);
	if (rc == 0)
		rc = add(out, "ca = @", in[2], e);
	if (rc == 0)
		rc = add(out, "policy = @", in[3], e);
	if (rc == 0)
		rc = add(out, "state_directory = @", in[4], e);
	if (rc == 0)
		rc = add(out, "renew_from = @", s->renew_from, e);
	if (rc == 0 && authority != NULL) {
		rc = add(out, "authority {\n\tdirectory = @", authority, e);
		if (rc == 0)
			rc = add(out, "\tlisten = {@}\n}", s->authority_listen, e);
	}
	if (rc == 0) {
		char *longer = xasprintf("%s%s", *out, ceiling);

		free(*out);
		*out = longer;
	}
	free(authority);
	for (size_t i = 0; i < 5; i++)
		free(in[i]);
	return rc;
}

static int write_config(
    const struct agent_setup *s, const char *dir, const char *path, struct err *e)
{
	char *text = NULL;
	int rc = compose(&text, s, dir, e);

	if (rc == 0)
		rc = paths_write(path, text, strlen(text), e);
	free(text);
	return rc;
}

int agent_setup_write(const struct agent_setup *s, struct err *e)
{
	char *dir = NULL, *config, *policy;
	int rc = paths_absolute(s->dir, &dir, e);

	if (rc != 0)
		return rc;
	config = xasprintf("%s/telexd.conf", dir);
	policy = xasprintf("%s/policy.conf", dir);
	if (!certfile_exists(config))
		rc = write_config(s, dir, config, e);
	if (rc == 0 && s->operator_identity != NULL && !certfile_exists(policy))
		rc = policy_file_write(policy, s->operator_identity, false, e);
	free(policy);
	free(config);
	free(dir);
	return rc;
}
