/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert token --ls` and `--revoke`: which tokens are out, and one that is good no more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/token.h"
#include "cli/cert_audit.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/say.h"
#include "common/mem.h"
#include "common/tls.h"
#include "common/tls_cert.h"

struct listing {
	int64_t now;
	bool all;
	struct output_table *table; /* NULL: JSON */
	size_t left_out;
};

static const char *state_of(const struct ledger_token_row *t, int64_t now)
{
	if (t->serial[0] != '\0')
		return "used";
	if (t->withdrawn)
		return "withdrawn";
	return now >= t->expires ? "expired" : "unused";
}

/* "a, b" of lines. */
static char *hosts_of(const char *lines)
{
	char *text = xstrdup(lines);

	for (char *at = text; *at != '\0'; at++)
		*at = (char)(*at == '\n' ? ',' : *at);
	return text;
}

static void one_json(const struct ledger_token_row *t, const char *state)
{
	json_t *o = json_object();

	json_object_set_new(o, "token_id", output_json_text(t->id));
	json_object_set_new(o, "kind", output_json_text(identity_kind_name(t->kind)));
	json_object_set_new(o, "name", output_json_text(t->name));
	json_object_set_new(o, "state", output_json_text(state));
	json_object_set_new(o, t->withdrawn ? "withdrawn" : "expires", cmd_cert_time(t->expires));
	if (t->serial[0] != '\0')
		json_object_set_new(o, "serial", output_json_text(t->serial));
	output_json(o);
}

static bool one(const struct ledger_token_row *t, void *arg)
{
	struct listing *ls = arg;
	const char *state = state_of(t, ls->now);
	char until[TLS_TIME_SIZE], *who, *hosts;

	if (!ls->all && strcmp(state, "unused") != 0) {
		ls->left_out++;
		return true;
	}
	if (ls->table == NULL) {
		one_json(t, state);
		return true;
	}
	who = xasprintf("%s %s", identity_kind_name(t->kind), t->name);
	hosts = hosts_of(t->sans);
	output_table_row(ls->table,
	    (const char *const[]){t->id, who, hosts, tls_time_text(until, t->expires), state});
	free(hosts);
	free(who);
	return true;
}

int cmd_cert_token_ls(const struct cli *cli, const char *given, bool all)
{
	static const char *const headings[] = {"TOKEN", "FOR", "HOSTS", "UNTIL", "STATE"};
	struct listing ls = {.now = (int64_t)time(NULL), .all = all};
	struct ledger *l = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_ledger(given, &dir, &l, &e);

	if (rc == 0 && !cli->json)
		ls.table = output_table_new(headings, 5);
	if (rc == 0)
		rc = ledger_each_token(l, one, &ls, &e);
	if (rc == 0 && ls.table != NULL)
		output_table_print(ls.table);
	else
		output_table_free(ls.table);
	if (rc != 0)
		cmd_cert_fail(&e);
	else if (ls.left_out > 0 && !cli->json)
		say_note("%zu used, withdrawn or expired, which -a shows", ls.left_out);
	ledger_close(l);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

/* ---- withdrawing ---- */

/* The id, the token itself, or @FILE with it. */
static int find_id(char **out, const char *what, struct err *e)
{
	char id[LEDGER_TOKEN_ID_SIZE], *text = NULL;
	uint8_t hash[LEDGER_HASH_SIZE];
	struct token t;
	size_t len = 0;
	int rc = 0;

	if (what[0] == '@')
		rc = tls_read_file(what + 1, &text, &len, e);
	if (rc != 0)
		return rc;
	if (text == NULL && strncmp(what, "telex", 5) != 0) {
		*out = xstrdup(what);
		return 0;
	}
	if (text != NULL)
		text[strcspn(text, " \t\r\n")] = '\0';
	rc = token_parse(&t, text != NULL ? text : what, e);
	if (rc == 0) {
		token_hash(t.secret, hash);
		ledger_token_id(id, hash);
		*out = xstrdup(id);
		token_clear(&t);
	}
	tls_text_free(text, len);
	return rc;
}

static int write_down(const char *dir, const char *id, struct err *e)
{
	struct audit *a = NULL;
	int rc = cert_audit_begin(&a, dir, "withdraw", e);

	if (rc != 0)
		return rc;
	audit_text(a, "token", id);
	return cert_audit_end(a, e);
}

int cmd_cert_token_revoke(const struct cli *cli, const char *given, const char *what)
{
	char *dir = NULL, *id = NULL;
	struct ledger *l = NULL;
	struct err e;
	int rc = find_id(&id, what, &e);

	if (rc == 0)
		rc = cmd_cert_ledger(given, &dir, &l, &e);
	if (rc == 0)
		rc = ledger_withdraw_token(l, id, &e);
	if (rc == TX_ENOENT && l != NULL)
		err_wrap(&e, "telex cert token --ls lists them");
	if (rc == 0)
		rc = write_down(dir, id, &e);
	if (rc != 0)
		cmd_cert_fail(&e);
	else if (cli->json)
		output_json(json_pack("{s:o}", "withdrawn", output_json_text(id)));
	else
		printf("withdrew the token %s\n", id);
	ledger_close(l);
	free(id);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}
