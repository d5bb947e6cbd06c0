/* SPDX-License-Identifier: Apache-2.0 */
/*
 * :path and the other headers of a call, and whether a method is reached that the policy does not
 * give: by no form of its path but the one. The input is the lines of the headers, "name: value".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/worker/authz.h"
#include "agent/worker/services.h"
#include "common/mem.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/worker_rig.h"

#define LINES_MAX 40

static const char policy[] = "role look { methods = {\"telex.v1.SystemService/*\"} }\n"
                             "grant all { identities = {\"" RIG_USER "\"} roles = {look} }\n";

struct line {
	char *text;
	struct h2_field field;
};

static struct line lines[LINES_MAX];
static size_t n_lines;
static unsigned asked, accepted, streams;

/* Whether a header says this path, and nothing else. The client's end makes names lower case. */
static bool is_said(const char *path)
{
	for (size_t i = 0; i < n_lines; i++)
		if (strcasecmp(lines[i].field.name, ":path") == 0 &&
		    lines[i].field.value_len == strlen(path) &&
		    strcmp(lines[i].field.value, path) == 0)
			return true;
	return false;
}

static int authorize(struct rpc_call *c, const struct rpc_service *s, const struct rpc_method *m,
    struct rpc_status *refuse)
{
	const struct worker *w = rpc_call_context(c);
	const struct peer *p = rpc_call_peer(c);
	char rule[POLICY_RULE_SIZE], path[256];
	int rc;

	asked++;
	snprintf(path, sizeof(path), "/%s/%s", s->name, m->name);
	fuzz_require(is_said(path));
	rc = authz_call(w->authz, p->identity, s->name, m->name, rule, refuse);
	fuzz_require((rc == 0) == (strcmp(s->name, "telex.v1.SystemService") == 0));
	return rc;
}

static void finished(struct rpc_call *c, const char *path, const struct rpc_status *status)
{
	if (rpc_call_accepted(c)) {
		static const char allowed[] = "/telex.v1.SystemService/";

		accepted++;
		fuzz_require(strncmp(path, allowed, sizeof(allowed) - 1) == 0 && is_said(path));
	} else {
		fuzz_require(
		    status->code == RPC_UNIMPLEMENTED || status->code == RPC_PERMISSION_DENIED);
	}
}

/* "a: b", ":path: /x": a name begins with a colon, or not. */
static void take_lines(struct fuzz_input *in)
{
	for (n_lines = 0; n_lines < LINES_MAX && in->left > 0; n_lines++) {
		char *text = fuzz_text(in, '\n');
		char *colon = text[0] != '\0' ? strchr(text + 1, ':') : NULL;
		struct h2_field *f = &lines[n_lines].field;

		lines[n_lines].text = text;
		*f = (struct h2_field){.name = text, .value = ""};
		if (colon != NULL) {
			*colon = '\0';
			f->value = colon[1] == ' ' ? colon + 2 : colon + 1;
		}
		f->name_len = strlen(f->name);
		f->value_len = strlen(f->value);
	}
}

static void on_headers(
    struct h2_stream *s, const struct h2_field *fields, size_t n, bool end, void *arg)
{
	(void)s;
	(void)fields;
	(void)n;
	(void)end;
	(void)arg;
}

static void on_data(struct h2_stream *s, const uint8_t *data, size_t len, void *arg)
{
	(void)data;
	(void)arg;
	h2_credit(s, len);
}

static void on_end(struct h2_stream *s, void *arg)
{
	(void)s;
	(void)arg;
}

static void on_close(struct h2_stream *s, uint32_t code, void *arg)
{
	(void)s;
	(void)code;
	(void)arg;
	fuzz_require(streams-- > 0);
}

static void call(struct worker_rig *rig)
{
	static const struct h2_stream_ops ops = {
	    .on_headers = on_headers, .on_data = on_data, .on_end = on_end, .on_close = on_close};
	struct h2_field fields[LINES_MAX];
	struct h2_stream *s;

	for (size_t i = 0; i < n_lines; i++)
		fields[i] = lines[i].field;
	if (h2_open(rig->pair.client.conn, &s, fields, n_lines, true, &ops, NULL) == 0)
		streams++;
	worker_rig_settle(rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct rpc_server_config cfg = {.services = services_all,
	    .n_services = SERVICES_COUNT,
	    .authorize = authorize,
	    .finished = finished};
	struct worker_rig rig;

	fuzz_log_nowhere();
	asked = accepted = streams = 0;
	worker_rig_init(&rig);
	worker_rig_policy(&rig, policy);
	cfg.context = &rig.worker;
	rpc_server_free(rig.server);
	fuzz_require(rpc_server_new(&rig.server, rig.pair.base, &cfg) == 0);
	take_lines(&in);
	call(&rig);
	fuzz_require(accepted <= asked && asked <= 1);
	worker_rig_free(&rig);
	fuzz_require(streams == 0);
	while (n_lines > 0)
		free(lines[--n_lines].text);
	return 0;
}
