/* SPDX-License-Identifier: Apache-2.0 */
/* What the worker makes of its policy: calls, rates, and what a request asks for. The services are
 * real; the keeper is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/authz.h"
#include "agent/worker/services.h"
#include "agent/worker/worker.h"
#include "common/err.h"
#include "common/policy_internal.h"

#define ALICE "spiffe://example.org/user/alice"
#define BOB   "spiffe://example.org/user/bob"

static char rule[POLICY_RULE_SIZE];

static void on_problem(const char *text, void *arg)
{
	(void)arg;
	print_error("%s\n", text);
}

static struct authz *with(const char *text)
{
	struct policy *p = NULL;

	assert_int_equal(policy_parse(&p, text, strlen(text), "policy", on_problem, NULL), 0);
	return authz_new_policy(p);
}

/* A file of its own, open, gone. */
static int file_of(const void *data, size_t len)
{
	char path[] = "/tmp/telex-authz-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	return fd;
}

static void only_who_is_granted_may_call(void **state)
{
	struct authz *a = with("role r { methods = {\"telex.v1.SystemService/*\"} }\n"
	                       "grant g { identities = {\"" ALICE "\"} roles = {r} }");
	struct rpc_status refuse = {0};

	(void)state;
	assert_int_equal(
	    authz_call(a, ALICE, "telex.v1.SystemService", "GetInfo", rule, &refuse), 0);
	authz_ended(a, ALICE);
	assert_int_equal(
	    authz_call(a, ALICE, "telex.v1.ProcessService", "Run", rule, &refuse), TX_EPERM);
	assert_int_equal(refuse.code, RPC_PERMISSION_DENIED);
	assert_string_equal(refuse.reason, "NOT_ALLOWED");
	assert_string_equal(rpc_status_get(&refuse, "identity"), ALICE);
	assert_string_equal(rpc_status_get(&refuse, "rule"), "grant g, role r");
	assert_string_equal(rpc_status_get(&refuse, "method"), "telex.v1.ProcessService/Run");
	assert_int_equal(
	    authz_call(a, BOB, "telex.v1.SystemService", "GetInfo", rule, &refuse), TX_EPERM);
	assert_string_equal(rpc_status_get(&refuse, "rule"), "no grant matches");
	authz_free(a);
}

static void nobody_without_an_identity_may(void **state)
{
	struct authz *a = with("role r { methods = {\"**\"} }\n"
	                       "grant g { identities = {\"**\"} roles = {r} }");
	struct rpc_status refuse = {0};

	(void)state;
	assert_int_equal(authz_call(a, "", "s", "m", rule, &refuse), TX_EPERM);
	assert_int_equal(refuse.code, RPC_UNAUTHENTICATED);
	assert_string_equal(refuse.reason, "NO_IDENTITY");
	assert_int_equal(authz_call(a, NULL, "s", "m", rule, &refuse), TX_EPERM);
	assert_int_equal(authz_call(NULL, ALICE, "s", "m", rule, &refuse), TX_EPERM);
	assert_int_equal(refuse.code, RPC_PERMISSION_DENIED);
	authz_free(a);
}

static void more_calls_at_once_than_allowed_are_refused(void **state)
{
	struct authz *a = with("role r { methods = {\"**\"} concurrent_calls = 2 }\n"
	                       "grant g { identities = {\"spiffe://*/user/*\"} roles = {r} }");
	struct rpc_status refuse = {0};

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(authz_call(a, ALICE, "s", "m", rule, &refuse), 0);
	assert_int_equal(authz_call(a, ALICE, "s", "m", rule, &refuse), TX_ELIMIT);
	assert_int_equal(refuse.code, RPC_RESOURCE_EXHAUSTED);
	assert_string_equal(refuse.reason, "CALLS");
	/* Nobody else is held up. */
	assert_int_equal(authz_call(a, BOB, "s", "m", rule, &refuse), 0);
	authz_ended(a, ALICE);
	assert_int_equal(authz_call(a, ALICE, "s", "m", rule, &refuse), 0);
	authz_ended(a, ALICE);
	authz_ended(a, ALICE);
	authz_ended(a, ALICE); /* one too many */
	authz_ended(a, "spiffe://example.org/user/unknown");
	for (int i = 0; i < 2; i++)
		assert_int_equal(authz_call(a, ALICE, "s", "m", rule, &refuse), 0);
	assert_int_equal(authz_call(a, ALICE, "s", "m", rule, &refuse), TX_ELIMIT);
	authz_free(a);
}

/* However slow this machine is: a call a second, and a million asked for without a pause. */
static void more_calls_a_second_than_allowed_are_refused(void **state)
{
	struct authz *a = with("role r { methods = {\"**\"} calls_per_second = 3 }\n"
	                       "grant g { identities = {\"spiffe://*/user/*\"} roles = {r} }");
	struct rpc_status refuse = {0};
	unsigned let = 0, asked = 0;
	int rc = 0;

	(void)state;
	while (asked < 1000000 && rc == 0) {
		rc = authz_call(a, ALICE, "s", "m", rule, &refuse);
		asked++;
		let += rc == 0;
	}
	assert_int_equal(rc, TX_ELIMIT);
	assert_true(let >= 3);
	assert_string_equal(refuse.reason, "RATE");
	assert_true(strtod(rpc_status_get(&refuse, "retry_after"), NULL) > 0);
	assert_true(strtod(rpc_status_get(&refuse, "retry_after"), NULL) <= 0.334);
	assert_int_equal(authz_call(a, BOB, "s", "m", rule, &refuse), 0);
	authz_free(a);
}

static void many_identities_are_forgotten_and_none_is_lost(void **state)
{
	struct authz *a =
	    with("role r { methods = {\"**\"} calls_per_second = 3 concurrent_calls = 1 }\n"
	         "grant g { identities = {\"spiffe://*/user/*\"} roles = {r} }");
	struct rpc_status refuse = {0};
	char who[64];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(who, sizeof(who), "spiffe://example.org/user/%d", i);
		assert_int_equal(authz_call(a, who, "s", "m", rule, &refuse), 0);
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(who, sizeof(who), "spiffe://example.org/user/%d", i);
		assert_int_equal(authz_call(a, who, "s", "m", rule, &refuse), TX_ELIMIT);
		authz_ended(a, who);
	}
	authz_free(a);
}

static void a_policy_that_is_none_serves_nobody(void **state)
{
	static const char bad[] = "role r { metods = {} }";
	char *good = policy_example(ALICE);
	struct authz *a = NULL;
	struct err e;
	int fd, junk;

	(void)state;
	assert_int_equal(authz_new(&a, "/etc/p.conf", -1, -1, &e), TX_ESTATE);
	assert_non_null(strstr(e.message, "telex policy init"));
	fd = file_of("", 0);
	assert_int_equal(authz_new(&a, "/etc/p.conf", fd, -1, &e), TX_EINVAL);
	close(fd);
	fd = file_of(bad, strlen(bad));
	assert_int_equal(authz_new(&a, "/etc/p.conf", fd, -1, &e), TX_EINVAL);
	assert_string_equal(
	    e.message, "/etc/p.conf:1: unknown key in a role 'metods'; did you mean 'methods'?");
	close(fd);
	fd = file_of(good, strlen(good));
	junk = file_of("no ceiling", 10);
	assert_true(authz_new(&a, "/etc/p.conf", fd, junk, &e) < 0);
	assert_null(a);
	assert_int_equal(authz_new(&a, "/etc/p.conf", fd, -1, &e), 0);
	authz_free(a);
	close(junk);
	close(fd);
	free(good);
}

/* So that a pattern in a policy that means it is no mistake. */
static void every_method_that_is_served_is_known_to_the_policy(void **state)
{
	(void)state;
	for (size_t i = 0; i < SERVICES_COUNT; i++) {
		for (size_t k = 0; k < services_all[i]->n_methods; k++) {
			char path[160];
			size_t at = 0;

			snprintf(path, sizeof(path), "%s/%s", services_all[i]->name,
			    services_all[i]->methods[k].name);
			while (policy_methods[at] != NULL && strcmp(policy_methods[at], path) != 0)
				at++;
			if (policy_methods[at] == NULL)
				fail_msg("add it to policy_methods: %s", path);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_who_is_granted_may_call),
	    cmocka_unit_test(nobody_without_an_identity_may),
	    cmocka_unit_test(more_calls_at_once_than_allowed_are_refused),
	    cmocka_unit_test(more_calls_a_second_than_allowed_are_refused),
	    cmocka_unit_test(many_identities_are_forgotten_and_none_is_lost),
	    cmocka_unit_test(a_policy_that_is_none_serves_nobody),
	    cmocka_unit_test(every_method_that_is_served_is_known_to_the_policy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
