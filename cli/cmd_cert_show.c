/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert show FILE...`: what certificates say, in words or as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "certs/certshow.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "common/tls.h"

#define DAY INT64_C(86400)

static const char *kind_of(const struct certshow *s)
{
	if (s->authority)
		return "authority";
	if (s->server)
		return "agent";
	return s->client ? "user" : "other";
}

static void show_json(const char *file, const struct certshow *s, int64_t now)
{
	json_t *o = json_object(), *hosts = json_array();

	json_object_set_new(o, "file", output_json_text(file));
	json_object_set_new(o, "kind", output_json_text(kind_of(s)));
	json_object_set_new(o, "identity", output_json_text(s->identity));
	if (s->flaw[0] != '\0')
		json_object_set_new(o, "flaw", output_json_text(s->flaw));
	json_object_set_new(
	    o, "state", output_json_text(certshow_state_name(certshow_state(s, now))));
	json_object_set_new(o, "not_before", cmd_cert_time(s->not_before));
	json_object_set_new(o, "not_after", cmd_cert_time(s->not_after));
	json_object_set_new(o, "days_left", json_integer((s->not_after - now) / DAY));
	json_object_set_new(o, "seconds_left", json_integer(s->not_after - now));
	for (size_t i = 0; i < s->hosts_len; i++)
		json_array_append_new(hosts, output_json_text(s->hosts[i]));
	json_object_set_new(o, "hosts", hosts);
	json_object_set_new(o, "server", json_boolean(s->server));
	json_object_set_new(o, "client", json_boolean(s->client));
	json_object_set_new(o, "subject", output_json_text(s->subject));
	json_object_set_new(o, "issuer", output_json_text(s->issuer));
	json_object_set_new(o, "issuer_follows", json_boolean(s->signer_follows));
	json_object_set_new(o, "key", output_json_text(s->key));
	json_object_set_new(o, "serial", output_json_text(s->serial));
	json_object_set_new(o, "sha256", output_json_text(s->fingerprint));
	output_json(o);
}

static int show_words(const struct certshow *s, int64_t now, struct err *e)
{
	char *text = certshow_words(s, now);

	if (text == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	fputs(text, stdout);
	free(text);
	return 0;
}

static int show_file(const struct cli *cli, const char *file, struct err *e)
{
	int64_t now = (int64_t)time(NULL);
	struct certshow *shown = NULL;
	size_t len = 0, count = 0;
	char *text = NULL;
	int rc = tls_read_file(file, &text, &len, e);

	if (rc == 0)
		rc = certshow_read(&shown, &count, text, len, file, e);
	tls_text_free(text, len);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (cli->json)
			show_json(file, &shown[i], now);
		else
			rc = show_words(&shown[i], now, e);
	}
	certshow_free(shown, count);
	return rc;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct options o;
	const char *value;
	struct err e;

	options_start(&o, cli, &cmd_cert_show, NULL, argc, argv);
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	if (o.n_operands == 0)
		options_usage(&o, "show takes one or more files");
	for (size_t i = 0; i < o.n_operands; i++) {
		if (show_file(cli, o.operands[i], &e) != 0)
			o.status = cmd_cert_fail(&e);
	}
	return options_end(&o);
}

const struct cli_verb cmd_cert_show = {
    .name = "cert show",
    .summary = "what certificates say",
    .help = "Examples:\n"
            "  telex cert show build7/build7.pem\n"
            "  telex cert show --json /etc/telex/*.pem\n"
            "\n"
            "Usage: telex cert show FILE...\n",
    .run = run,
};
