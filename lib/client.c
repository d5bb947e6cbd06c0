/* SPDX-License-Identifier: Apache-2.0 */
/* A client: its options and its two ends. Connections are conn.c's, calls call.c's. */
#include "lib/client.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/duration.h"
#include "config.h"
#include "lib/client_revoked.h"
#include "lib/error.h"

#define CLIENT_CONNECT_TIMEOUT_MS 10000
#define CLIENT_RECONNECT_MS       60000
#define CLIENT_TIMEOUT_MAX_MS     INT64_C(86400000)

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct telex_client *client = arg;

	(void)fd;
	(void)what;
	call_deliver(client);
	conn_tidy(client);
}

static void on_redial(evutil_socket_t fd, short what, void *arg)
{
	struct telex_client *client = arg;
	struct telex_error error;

	(void)fd;
	(void)what;
	if (conn_pump(client, &error) < 0)
		call_no_connection(client, &error);
}

static int check_options(const struct telex_options *o, struct telex_error *error)
{
	if (o->address == NULL || o->address[0] == '\0')
		return error_set(error, TELEX_ERROR_USAGE, "no address of an agent was given");
	if (o->connect_timeout_ms < 0 || o->connect_timeout_ms > CLIENT_TIMEOUT_MAX_MS)
		return error_set(
		    error, TELEX_ERROR_USAGE, "connect_timeout_ms must be between 0 and a day");
	if (o->reconnect_ms > CLIENT_TIMEOUT_MAX_MS)
		return error_set(error, TELEX_ERROR_USAGE, "reconnect_ms is more than a day");
	if (o->server_name != NULL && strlen(o->server_name) >= ADDRESS_HOST_SIZE)
		return error_set(error, TELEX_ERROR_USAGE, "server_name is too long");
	return 0;
}

static int check_files(const struct telex_options *o, struct telex_error *error)
{
	if (o->certificate_file == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no certificate_file was given");
	if (o->key_file == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no key_file was given");
	if (o->ca_file == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no ca_file was given");
	return 0;
}

/* Of the certificates that its agents may have. */
static int load_revoked(struct telex_client *client, const struct telex_options *o,
    const struct tls_material *m, struct err *e)
{
	if (o->revocations_file == NULL || client->revoked != NULL)
		return 0;
	return client_revoked_read(&client->revoked, o->revocations_file, m->ca, m->ca_len, e);
}

static int load_tls(struct telex_client *client, struct tls_ctx **out,
    const struct telex_options *o, struct telex_error *error)
{
	char *certificate = NULL, *key = NULL, *ca = NULL;
	struct tls_material m = {
	    .certificate_name = o->certificate_file,
	    .key_name = o->key_file,
	    .ca_name = o->ca_file,
	};
	struct err e;
	int rc = -1;

	err_clear(&e);
	if (tls_read_pair(o->certificate_file, &certificate, &m.certificate_len, o->key_file, &key,
	        &m.key_len, &e) < 0 ||
	    tls_read_file(o->ca_file, &ca, &m.ca_len, &e) < 0) {
		error_from_err(error, TELEX_ERROR_SYSTEM, &e);
		goto out;
	}
	m.certificate = certificate;
	m.key = key;
	m.ca = ca;
	if (load_revoked(client, o, &m, &e) < 0 || tls_client_ctx_new(out, &m, &e) < 0) {
		error_from_err(error, TELEX_ERROR_CERTIFICATE, &e);
		goto out;
	}
	if (client->revoked != NULL)
		tls_ctx_set_revoked(*out, client_revoked_ask, client->revoked);
	rc = 0;
out:
	tls_text_free(certificate, m.certificate_len);
	tls_text_free(key, m.key_len);
	tls_text_free(ca, m.ca_len);
	return rc;
}

/* The certificate is what is put in its place last. */
struct client_files {
	char *certificate, *key, *ca;
	struct stat certificate_stat;
};

static void files_free(struct client_files *f)
{
	if (f == NULL)
		return;
	free(f->certificate);
	free(f->key);
	free(f->ca);
	free(f);
}

/* Where our own came from, as it was before it was read. */
static int keep_files(struct telex_client *client, const struct telex_options *o)
{
	struct client_files *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	client->files = f;
	f->certificate = strdup(o->certificate_file);
	f->key = strdup(o->key_file);
	f->ca = strdup(o->ca_file);
	(void)stat(o->certificate_file, &f->certificate_stat);
	return f->certificate != NULL && f->key != NULL && f->ca != NULL ? 0 : -1;
}

/* Who brings a newer list need not end what runs. */
static void refresh_revoked(struct telex_client *client)
{
	size_t len = 0;
	char *ca = NULL;

	if (client->files == NULL || client->revoked == NULL ||
	    !client_revoked_changed(client->revoked))
		return;
	if (tls_read_file(client->files->ca, &ca, &len, NULL) == 0)
		(void)client_revoked_again(client->revoked, ca, len);
	tls_text_free(ca, len);
}

void client_refresh(struct telex_client *client)
{
	struct client_files *f = client->files;
	struct tls_ctx *fresh = NULL;
	struct stat now;

	refresh_revoked(client);
	if (f == NULL || stat(f->certificate, &now) != 0 ||
	    (now.st_ino == f->certificate_stat.st_ino &&
	        now.st_mtim.tv_sec == f->certificate_stat.st_mtim.tv_sec &&
	        now.st_mtim.tv_nsec == f->certificate_stat.st_mtim.tv_nsec))
		return;
	if (load_tls(client, &fresh,
	        &(struct telex_options){
	            .certificate_file = f->certificate, .key_file = f->key, .ca_file = f->ca},
	        NULL) != 0)
		return;
	tls_ctx_free(client->tls); /* its connections keep it */
	client->tls = fresh;
	f->certificate_stat = now;
}

static int configure(
    struct telex_client *client, const struct telex_options *o, struct telex_error *error)
{
	struct err e;

	if (address_parse(&client->address, o->address, &e) < 0)
		return error_from_err(error, TELEX_ERROR_USAGE, &e);
	if (o->server_name != NULL && o->server_name[0] != '\0')
		snprintf(client->tls_name, sizeof(client->tls_name), "%s", o->server_name);
	else
		address_tls_name(&client->address, client->tls_name);
	client->connect_timeout_ns =
	    (o->connect_timeout_ms != 0 ? o->connect_timeout_ms : CLIENT_CONNECT_TIMEOUT_MS) *
	    NS_PER_MS;
	if (o->reconnect_ms < 0)
		client->reconnect_ns = -1;
	else
		client->reconnect_ns =
		    (o->reconnect_ms != 0 ? o->reconnect_ms : CLIENT_RECONNECT_MS) * NS_PER_MS;
	client->heartbeat_ms = QUESTION_HEARTBEAT_MS;
	client->later = event_new(client->base, -1, 0, on_later, client);
	client->redial = evtimer_new(client->base, on_redial, client);
	if (client->later == NULL || client->redial == NULL)
		return error_no_memory(error);
	if (client->tls != NULL)
		return 0;
	if (keep_files(client, o) < 0)
		return error_no_memory(error);
	return load_tls(client, &client->tls, o, error);
}

int client_new(struct telex_client **out, struct event_base *base,
    const struct telex_options *options, struct tls_ctx *tls, struct telex_error *error)
{
	struct telex_client *client;

	if (base == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no event_base was given");
	if (check_options(options, error) < 0 || (tls == NULL && check_files(options, error) < 0))
		return -1;
	client = calloc(1, sizeof(*client));
	if (client == NULL)
		return error_no_memory(error);
	client->base = base;
	TAILQ_INIT(&client->conns);
	TAILQ_INIT(&client->waiting);
	TAILQ_INIT(&client->resting);
	TAILQ_INIT(&client->ending);
	client->tls = tls;
	if (configure(client, options, error) < 0) {
		if (client->tls == tls)
			client->tls = NULL;
		telex_client_free(client);
		return -1;
	}
	*out = client;
	return 0;
}

int telex_client_new(struct telex_client **out, struct event_base *base,
    const struct telex_options *options, struct telex_error *error)
{
	return client_new(out, base, options, NULL, error);
}

static void drop_calls(struct call_list *list)
{
	struct call *c;

	while ((c = TAILQ_FIRST(list)) != NULL) {
		const struct call_ops *ops = c->ops;

		call_cancel(c);
		ops->drop(c);
	}
}

void telex_client_free(struct telex_client *client)
{
	struct conn *conn;

	if (client == NULL)
		return;
	drop_calls(&client->waiting);
	drop_calls(&client->resting);
	drop_calls(&client->ending);
	TAILQ_FOREACH(conn, &client->conns, entry)
	drop_calls(&conn->calls);
	while ((conn = TAILQ_FIRST(&client->conns)) != NULL)
		conn_free(conn);
	if (client->later != NULL)
		event_free(client->later);
	if (client->redial != NULL)
		event_free(client->redial);
	tls_ctx_free(client->tls);
	client_revoked_free(client->revoked);
	files_free(client->files);
	free(client);
}

const char *telex_client_agent(const struct telex_client *client)
{
	return client->agent[0] != '\0' ? client->agent : NULL;
}

int64_t telex_client_expires(const struct telex_client *client)
{
	return tls_ctx_expires(client->tls);
}

int64_t telex_client_revocations_next(const struct telex_client *client)
{
	return client->revoked != NULL ? client_revoked_next(client->revoked) : 0;
}

const char *telex_version(void)
{
	return PACKAGE_VERSION;
}
