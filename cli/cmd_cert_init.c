/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert init`: a new authority in a folder. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "certs/ca.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/tls_cert.h"

enum { OPT_DIR = 256, OPT_DOMAIN, OPT_NAME, OPT_DAYS, OPT_KEY_TYPE, OPT_FORCE };

static const struct options_spec specs[] = {
    {OPT_DIR, '\0', "dir", true},
    {OPT_DOMAIN, '\0', "domain", true},
    {OPT_NAME, '\0', "name", true},
    {OPT_DAYS, '\0', "days", true},
    {OPT_KEY_TYPE, '\0', "key-type", true},
    {OPT_FORCE, '\0', "force", false},
    {0},
};

struct init {
	struct ca_options ca;
	const char *dir;
	bool force;
};

static bool parse_days(struct options *o, const char *value, int64_t *out)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (end == value || *end != '\0' || errno != 0 || n < 1) {
		options_usage(o, "--days takes a number of days, not '%s'", value);
		return false;
	}
	*out = n;
	return true;
}

static bool take(struct options *o, struct init *i, int id, const char *value)
{
	switch (id) {
	case OPT_DIR:
		i->dir = value;
		return true;
	case OPT_DOMAIN:
		i->ca.domain = value;
		return true;
	case OPT_NAME:
		i->ca.name = value;
		return true;
	case OPT_DAYS:
		return parse_days(o, value, &i->ca.days);
	case OPT_KEY_TYPE:
		return cmd_cert_key_type(o, value, &i->ca.key_type);
	default:
		i->force = true;
		return true;
	}
}

static void answer(const struct cli *cli, const struct ca *ca, const char *dir)
{
	char date[TLS_TIME_SIZE];
	json_t *o;

	if (!cli->json) {
		tls_time_text(date, ca_expires(ca));
		printf("made the authority \"%s\" for spiffe://%s, valid until %s\n", ca_name(ca),
		    ca_domain(ca), date);
		printf(
		    "  %s/" CA_CERTIFICATE_FILE "  give it to every agent and every user\n", dir);
		printf("  %s/" CA_KEY_FILE "  keep it: who has it can be anyone\n", dir);
		return;
	}
	o = json_object();
	json_object_set_new(o, "name", output_json_text(ca_name(ca)));
	json_object_set_new(o, "domain", output_json_text(ca_domain(ca)));
	json_object_set_new(o, "dir", output_json_text(dir));
	json_object_set_new(o, "not_after", cmd_cert_time(ca_expires(ca)));
	output_json(o);
}

static int make(const struct cli *cli, const struct init *i)
{
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_folder(i->dir, &dir, &e);

	if (rc == 0)
		rc = ca_new(&ca, &i->ca, &e);
	if (rc == 0)
		rc = paths_make_folder(dir, &e);
	if (rc == 0)
		rc = ca_save(ca, dir, i->force, &e);
	if (rc == 0)
		answer(cli, ca, dir);
	else
		cmd_cert_fail(&e);
	if (rc == TX_EEXIST)
		say_note("what the old authority issued is worth nothing under a new one");
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

int cmd_cert_init(struct cli *cli, int argc, char **argv)
{
	struct init i = {.dir = NULL};
	struct options o;
	const char *value;
	int id;

	options_start(&o, cli, &cmd_cert, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (!take(&o, &i, id, value))
			return options_end(&o);
	}
	if (id < 0)
		return options_end(&o);
	if (o.n_operands != 0)
		options_usage(
		    &o, "init takes options only, not '%s'; --dir names the folder", o.operands[0]);
	else
		o.status = make(cli, &i);
	return options_end(&o);
}
