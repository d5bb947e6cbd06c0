/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert issue agent|user NAME`: a key, its certificate and a copy of the authority's, in a
 * folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certs/ca.h"
#include "certs/certfile.h"
#include "certs/issue.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/tls.h"
#include "common/tls_cert.h"

enum { OPT_SAN = 256, OPT_TTL, OPT_DIR, OPT_OUT, OPT_KEY_TYPE, OPT_FORCE };

static const struct options_spec specs[] = {
    {OPT_SAN, '\0', "san", true},
    {OPT_TTL, '\0', "ttl", true},
    {OPT_DIR, '\0', "dir", true},
    {OPT_OUT, '\0', "out", true},
    {OPT_KEY_TYPE, '\0', "key-type", true},
    {OPT_FORCE, '\0', "force", false},
    {0},
};

struct issue {
	struct issue_request request;
	const char *sans[ISSUE_SANS_MAX];
	const char *dir, *out;
	bool force;
	char certificate[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
};

static bool take_san(struct options *o, struct issue *i, const char *value)
{
	if (i->request.sans_len == ISSUE_SANS_MAX) {
		options_usage(o, "--san may be given %d times", ISSUE_SANS_MAX);
		return false;
	}
	if (!issue_host_valid(value)) {
		options_usage(o, "--san '%s' is neither a host name nor an IP address", value);
		return false;
	}
	i->sans[i->request.sans_len++] = value;
	return true;
}

static bool take_ttl(struct options *o, struct issue *i, const char *value)
{
	int64_t ns;

	if (duration_parse(value, &ns) != 0 || ns / NS_PER_S < ISSUE_TTL_MIN) {
		options_usage(o,
		    "--ttl takes a time of a minute or more, as 30m, 24h or 7d, not '%s'", value);
		return false;
	}
	i->request.ttl_s = ns / NS_PER_S;
	return true;
}

static bool take(struct options *o, struct issue *i, int id, const char *value)
{
	switch (id) {
	case OPT_SAN:
		return take_san(o, i, value);
	case OPT_TTL:
		return take_ttl(o, i, value);
	case OPT_DIR:
		i->dir = value;
		return true;
	case OPT_OUT:
		i->out = value;
		return true;
	case OPT_KEY_TYPE:
		return cmd_cert_key_type(o, value, &i->request.key_type);
	default:
		i->force = true;
		return true;
	}
}

static bool same_folder(const char *a, const char *b)
{
	struct stat one, two;

	return stat(a, &one) == 0 && stat(b, &two) == 0 && one.st_dev == two.st_dev &&
	       one.st_ino == two.st_ino;
}

/* ca.pem beside what is issued, so that the three files go together. The same text there is fine.
 */
static int copy_ca(const struct issue *i, const struct ca *ca, struct err *e)
{
	size_t len, there_len = 0;
	const char *text = ca_certificate(ca, &len);
	char *there = NULL;
	bool same;
	int rc;

	if (!certfile_exists(i->ca))
		return certfile_write(i->ca, text, len, CERTFILE_CERTIFICATE, false, e);
	rc = tls_read_file(i->ca, &there, &there_len, e);
	if (rc != 0)
		return rc;
	same = there_len == len && memcmp(there, text, len) == 0;
	tls_text_free(there, there_len);
	if (same)
		return 0;
	if (!i->force)
		return err_set(e, TX_EEXIST,
		    "%s is of another authority; choose another folder with --out, or --force",
		    i->ca);
	return certfile_write(i->ca, text, len, CERTFILE_CERTIFICATE, true, e);
}

static int write_files(struct issue *i, const struct ca *ca, const char *dir,
    const struct issued *issued, struct err *e)
{
	int rc = certfile_path(i->certificate, i->out, i->request.name, ".pem", e);

	if (rc == 0)
		rc = certfile_path(i->key, i->out, i->request.name, ".key", e);
	if (rc == 0)
		rc = certfile_path(i->ca, i->out, CA_CERTIFICATE_FILE, "", e);
	if (rc == 0)
		rc = paths_make_folder(i->out, e);
	/* An agent called "ca" would take the authority's place. */
	if (rc == 0 && strcmp(i->certificate, i->ca) == 0)
		rc = err_set(e, TX_EINVAL, "\"ca\" is the name of the authority's own files");
	if (rc == 0 && !same_folder(dir, i->out))
		rc = copy_ca(i, ca, e);
	if (rc == 0)
		rc = certfile_write_pair(i->certificate, issued->certificate,
		    issued->certificate_len, i->key, issued->key, issued->key_len, i->force, e);
	return rc;
}

static void answer_json(const struct issue *i, const struct issued *issued)
{
	json_t *o = json_object(), *hosts = json_array();

	json_object_set_new(o, "identity", output_json_text(issued->identity));
	json_object_set_new(o, "serial", output_json_text(issued->serial));
	json_object_set_new(o, "not_before", cmd_cert_time(issued->not_before));
	json_object_set_new(o, "not_after", cmd_cert_time(issued->not_after));
	json_object_set_new(o, "certificate", output_json_text(i->certificate));
	json_object_set_new(o, "key", output_json_text(i->key));
	json_object_set_new(o, "ca", output_json_text(i->ca));
	for (size_t n = 0; n < i->request.sans_len; n++)
		json_array_append_new(hosts, output_json_text(i->sans[n]));
	if (i->request.kind == IDENTITY_AGENT && i->request.sans_len == 0)
		json_array_append_new(hosts, output_json_text(i->request.name));
	json_object_set_new(o, "hosts", hosts);
	output_json(o);
}

static void answer(const struct cli *cli, const struct issue *i, const struct issued *issued)
{
	char date[TLS_TIME_SIZE];

	if (issued->shortened)
		say_note("it ends with its authority, earlier than asked for");
	if (cli->json) {
		answer_json(i, issued);
		return;
	}
	printf("issued %s, valid until %s\n", issued->identity,
	    tls_time_text(date, issued->not_after));
	printf("  certificate  %s\n", i->certificate);
	printf("  key          %s\n", i->key);
	printf("  authority    %s\n", i->ca);
	if (i->request.kind == IDENTITY_USER)
		say_note("next: telex context create NAME --host HOST --cert %s --key %s --ca %s",
		    i->certificate, i->key, i->ca);
}

static int issue(const struct cli *cli, struct issue *i)
{
	struct issued issued = {.key = NULL};
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_folder(i->dir, &dir, &e);

	if (rc == 0)
		rc = ca_load(&ca, dir, &e);
	if (rc == 0)
		rc = issue_certificate(&issued, ca, &i->request, &e);
	if (rc == 0)
		rc = write_files(i, ca, dir, &issued, &e);
	if (rc == 0)
		answer(cli, i, &issued);
	else
		cmd_cert_fail(&e);
	if (rc == TX_ENOENT)
		say_note("make one with `telex cert init`, or name its folder with --dir");
	issue_free(&issued);
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static bool take_operands(struct options *o, struct issue *i)
{
	static const char *const kinds[] = {"agent", "user"};

	if (o->n_operands != 2) {
		options_usage(o, "issue takes `agent NAME` or `user NAME`");
		return false;
	}
	if (!identity_kind_parse(&i->request.kind, o->operands[0])) {
		options_usage(o, "a certificate is of an agent or a user, not of '%s'%s",
		    o->operands[0], options_nearest(o->operands[0], kinds, 2));
		return false;
	}
	i->request.name = o->operands[1];
	i->request.sans = i->sans;
	return true;
}

int cmd_cert_issue(struct cli *cli, int argc, char **argv)
{
	struct issue i = {.out = "."};
	struct options o;
	const char *value;
	int id;

	options_start(&o, cli, &cmd_cert, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (!take(&o, &i, id, value))
			return options_end(&o);
	}
	if (id == 0 && take_operands(&o, &i))
		o.status = issue(cli, &i);
	return options_end(&o);
}
