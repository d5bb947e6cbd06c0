/* SPDX-License-Identifier: Apache-2.0 */
/* What telex-ca does with its authority, without its links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/ca/authority.h"
#include "agent/ca/sandbox.h"
#include "agent/worker/sandbox.h"
#include "certs/ca.h"
#include "certs/certfile.h"
#include "certs/crl.h"
#include "certs/ledger.h"
#include "common/rpc_status.h"
#include "common/tls.h"
#include "tests/support/folder.h"

#define DOMAIN "lab.example"
#define ALICE  "spiffe://" DOMAIN "/user/alice"
#define MANY   200 /* more than a kilobyte of anything */

static void must(int rc, const struct err *e)
{
	if (rc != 0)
		fail_msg("%s", e->message);
}

static void open_authority(struct authority *au, const char *dir)
{
	const struct ca_options o = {.domain = DOMAIN};
	struct err e;

	*au = (struct authority){.ca = NULL};
	must(ca_new(&au->ca, &o, &e), &e);
	must(ca_save(au->ca, dir, false, &e), &e);
	must(ledger_open(&au->ledger, dir, &e), &e);
}

static void close_authority(struct authority *au)
{
	ledger_close(au->ledger);
	ca_free(au->ca);
	free(au->list);
}

/* ---- lists ---- */

static void revoke_many(struct ledger *l)
{
	struct ledger_certificate c = {.issued = (int64_t)time(NULL)};
	struct err e;

	c.not_before = c.issued;
	c.not_after = c.issued + 86400;
	c.revoked = c.issued;
	snprintf(c.identity, sizeof(c.identity), "%s", ALICE);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(c.serial, sizeof(c.serial), "%08X", (i * 7919) % 100003 + 1);
		must(ledger_add(l, &c, "PEM", &e), &e);
	}
}

/* Nothing of libc's may have been sorted before: it asks once. */
static int in_child(int (*act)(const char *dir), const char *dir)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(act(dir));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int make_list_locked_in(const char *dir)
{
	Telex__V1__GetRevocationsRequest ask = TELEX__V1__GET_REVOCATIONS_REQUEST__INIT;
	struct confine_report r = {0};
	struct authority au = {.ca = NULL};
	struct answer a;
	struct err e;

	answer_init(&a);
	if (chdir(dir) != 0 || ca_load(&au.ca, ".", &e) != 0 ||
	    ledger_open(&au.ledger, ".", &e) != 0 || ca_sandbox_enter(&r, &e) != 0 ||
	    ca_sandbox_close(&r, &e) != 0)
		return 2;
	authority_revocations(&au, &ask, &a);
	return a.message.list && a.list_fd >= 0 ? 0 : 1;
}

static void telex_ca_makes_long_lists(void **state)
{
	struct authority au;
	int status;

	open_authority(&au, *state);
	revoke_many(au.ledger);
	status = in_child(make_list_locked_in, *state);
	if (WIFSIGNALED(status))
		fail_msg("it died of signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close_authority(&au);
}

/* In a process of its own: it sorts. */
static int write_list(const char *dir)
{
	struct ledger *l = NULL;
	struct ca *ca = NULL;
	char *text = NULL;
	size_t len = 0;
	struct err e;

	if (chdir(dir) != 0 || ca_load(&ca, ".", &e) != 0 || ledger_open(&l, ".", &e) != 0 ||
	    crl_make(&text, &len, ca, l, 3600, &e) != 0 ||
	    certfile_write("list.pem", text, len, CERTFILE_CERTIFICATE, false, &e) != 0)
		return 1;
	return 0;
}

static int read_list_locked_in(const char *dir)
{
	struct confine_report r = {0};
	char *list = NULL, *ca = NULL;
	size_t list_len, ca_len;
	struct crl *c = NULL;
	struct err e;

	if (chdir(dir) != 0 || tls_read_file("list.pem", &list, &list_len, &e) != 0 ||
	    tls_read_file(CA_CERTIFICATE_FILE, &ca, &ca_len, &e) != 0 ||
	    confine_give_up(&r, &e) != 0 ||
	    confine_calls(&r, "telex-worker", sandbox_calls, &e) != 0)
		return 2;
	if (crl_read(&c, list, list_len, ca, ca_len, &e) != 0)
		return 1;
	return crl_count(c) == MANY && crl_revoked(c, "00000001") && !crl_revoked(c, "FFFFFF") ? 0
	                                                                                       : 3;
}

static void a_worker_reads_long_lists(void **state)
{
	struct authority au;
	int status;

	open_authority(&au, *state);
	revoke_many(au.ledger);
	assert_int_equal(in_child(write_list, *state), 0);
	status = in_child(read_list_locked_in, *state);
	if (WIFSIGNALED(status))
		fail_msg("it died of signal %d", WTERMSIG(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close_authority(&au);
}

int main(void)
{
	/* The lists first: what is said of in_child. */
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(telex_ca_makes_long_lists, folder_make, folder_remove),
	    cmocka_unit_test_setup_teardown(a_worker_reads_long_lists, folder_make, folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
