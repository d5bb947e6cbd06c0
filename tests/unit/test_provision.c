/* SPDX-License-Identifier: Apache-2.0 */
/* One call gives a machine what it needs to talk to itself: checked by talking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs/ca.h"
#include "certs/ledger.h"
#include "certs/provision.h"
#include "common/tls.h"
#include "tests/support/folder.h"
#include "tests/support/tls_pair.h"

static struct tls_ctx *ctx_of(const char *certificate, const char *key, const char *ca, bool server)
{
	struct tls_material m = {.certificate_name = certificate, .key_name = key, .ca_name = ca};
	struct tls_ctx *ctx = NULL;
	struct err e = {0};
	char *texts[3];

	assert_int_equal(tls_read_file(certificate, &texts[0], &m.certificate_len, &e), 0);
	assert_int_equal(tls_read_file(key, &texts[1], &m.key_len, &e), 0);
	assert_int_equal(tls_read_file(ca, &texts[2], &m.ca_len, &e), 0);
	m.certificate = texts[0];
	m.key = texts[1];
	m.ca = texts[2];
	if ((server ? tls_server_ctx_new : tls_client_ctx_new)(&ctx, &m, &e) != 0)
		fail_msg("%s", e.message);
	tls_text_free(texts[0], m.certificate_len);
	tls_text_free(texts[1], m.key_len);
	tls_text_free(texts[2], m.ca_len);
	return ctx;
}

static void talk(
    const struct provision_paths *p, const char *host, const char *agent, const char *user)
{
	struct tls_ctx *server = ctx_of(p->agent, p->agent_key, p->ca, true);
	struct tls_ctx *client = ctx_of(p->user, p->user_key, p->ca, false);
	struct tls_pair pair;

	tls_pair_handshake(&pair, server, client, host);
	assert_string_equal(pair.client.e.message, "");
	assert_string_equal(pair.server.e.message, "");
	assert_string_equal(pair.client.identity, agent);
	assert_string_equal(pair.server.identity, user);
	tls_pair_free(&pair);
	tls_ctx_free(server);
	tls_ctx_free(client);
}

static void expect_mode(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void both_sides_trust_each_other_under_every_name(void **state)
{
	struct provision_paths *p = malloc(sizeof(*p));
	char *dir = folder_path(*state, "new");
	struct provision_options o = {.dir = dir};

	assert_int_equal(provision_dev(&o, p, NULL), 0);
	talk(p, "localhost", "spiffe://telex.internal/agent/dev",
	    "spiffe://telex.internal/user/dev");
	talk(p, "127.0.0.1", "spiffe://telex.internal/agent/dev",
	    "spiffe://telex.internal/user/dev");
	talk(p, "::1", "spiffe://telex.internal/agent/dev", "spiffe://telex.internal/user/dev");
	expect_mode(dir, 0700);
	expect_mode(p->ca, 0644);
	expect_mode(p->ca_key, 0600);
	expect_mode(p->agent, 0644);
	expect_mode(p->agent_key, 0600);
	expect_mode(p->user, 0644);
	expect_mode(p->user_key, 0600);
	assert_int_equal(folder_count(dir), 7);
	free(dir);
	free(p);
}

static void what_is_asked_for_is_in_the_certificates(void **state)
{
	static const char *const sans[] = {"build7.example", "10.1.2.3"};
	struct provision_paths *p = malloc(sizeof(*p));
	char *dir = folder_path(*state, "pki");
	struct provision_options o = {.dir = dir,
	    .domain = "lab.example",
	    .agent = "build7",
	    .user = "carol",
	    .sans = sans,
	    .sans_len = 2};

	assert_int_equal(provision_dev(&o, p, NULL), 0);
	talk(p, "build7.example", "spiffe://lab.example/agent/build7",
	    "spiffe://lab.example/user/carol");
	talk(p, "10.1.2.3", "spiffe://lab.example/agent/build7", "spiffe://lab.example/user/carol");
	free(dir);
	free(p);
}

static void a_good_authority_is_kept_and_a_foreign_domain_s_is_not(void **state)
{
	char *dir = folder_path(*state, "pki");
	struct provision_options o = {.dir = dir};
	struct ca *first = NULL, *second = NULL, *third = NULL;

	assert_int_equal(provision_dev(&o, NULL, NULL), 0);
	assert_int_equal(ca_load(&first, dir, NULL), 0);
	assert_int_equal(provision_dev(&o, NULL, NULL), 0);
	assert_int_equal(ca_load(&second, dir, NULL), 0);
	assert_string_equal(ca_certificate(first, NULL), ca_certificate(second, NULL));
	o.domain = "other.example";
	assert_int_equal(provision_dev(&o, NULL, NULL), 0);
	assert_int_equal(ca_load(&third, dir, NULL), 0);
	assert_string_equal(ca_domain(third), "other.example");
	ca_free(first);
	ca_free(second);
	ca_free(third);
	free(dir);
}

static bool count_valid(const struct ledger_certificate *c, void *arg)
{
	*(unsigned *)arg += c->revoked == 0 ? 1 : 100;
	return true;
}

/* One that is not revoked counts 1, one that is counts 100. */
static unsigned recorded(const char *dir)
{
	struct ledger *l = NULL;
	unsigned n = 0;

	assert_int_equal(ledger_open(&l, dir, NULL), 0);
	assert_int_equal(ledger_each(l, count_valid, &n, NULL), 0);
	ledger_close(l);
	return n;
}

static void what_is_issued_is_in_the_ledger(void **state)
{
	char *dir = folder_path(*state, "pki");
	struct provision_options o = {.dir = dir};

	assert_int_equal(provision_dev(&o, NULL, NULL), 0);
	assert_int_equal(recorded(dir), 2);
	assert_int_equal(provision_dev(&o, NULL, NULL), 0);
	assert_int_equal(recorded(dir), 4);
	o.domain = "other.example";
	assert_int_equal(provision_dev(&o, NULL, NULL), 0);
	assert_int_equal(recorded(dir), 402);
	free(dir);
}

static void a_damaged_authority_is_replaced(void **state)
{
	struct provision_paths *p = malloc(sizeof(*p));
	char *dir = folder_path(*state, "pki");
	struct provision_options o = {.dir = dir};

	assert_int_equal(provision_dev(&o, p, NULL), 0);
	assert_int_equal(truncate(p->ca, 40), 0);
	assert_int_equal(provision_dev(&o, p, NULL), 0);
	talk(p, "localhost", "spiffe://telex.internal/agent/dev",
	    "spiffe://telex.internal/user/dev");
	free(dir);
	free(p);
}

static void an_authority_whose_key_is_open_to_others_is_left_alone(void **state)
{
	struct provision_paths *p = malloc(sizeof(*p));
	char *dir = folder_path(*state, "pki");
	struct provision_options o = {.dir = dir};
	struct err e;

	assert_int_equal(provision_dev(&o, p, NULL), 0);
	assert_int_equal(chmod(p->ca_key, 0640), 0);
	assert_int_equal(provision_dev(&o, p, &e), TX_EPERM);
	assert_non_null(strstr(e.message, "type: chmod 600"));
	expect_mode(p->ca_key, 0640);
	free(dir);
	free(p);
}

static void bad_options_are_refused(void **state)
{
	char *dir = folder_path(*state, "pki"), *deep = folder_path(*state, "no/such/folder");
	struct provision_options o = {.dir = dir};
	struct err e;

	o.domain = "Not A Domain";
	assert_int_equal(provision_dev(&o, NULL, &e), TX_EINVAL);
	o.domain = NULL;
	o.user = "../root";
	assert_int_equal(provision_dev(&o, NULL, &e), TX_EINVAL);
	o.user = NULL;
	o.dir = deep;
	assert_int_equal(provision_dev(&o, NULL, &e), TX_ESYS);
	assert_non_null(strstr(e.message, "No such file or directory"));
	free(dir);
	free(deep);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_FOLDER(both_sides_trust_each_other_under_every_name),
	    IN_FOLDER(what_is_asked_for_is_in_the_certificates),
	    IN_FOLDER(a_good_authority_is_kept_and_a_foreign_domain_s_is_not),
	    IN_FOLDER(what_is_issued_is_in_the_ledger),
	    IN_FOLDER(a_damaged_authority_is_replaced),
	    IN_FOLDER(an_authority_whose_key_is_open_to_others_is_left_alone),
	    IN_FOLDER(bad_options_are_refused),
	};

	return cmocka_run_group_tests_name("provision", tests, NULL, NULL);
}
