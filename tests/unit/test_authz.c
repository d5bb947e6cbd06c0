/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call: users. Nobody else, however odd the name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/worker/authz.h"
#include "common/err.h"

static void a_user_may_call(void **state)
{
	struct rpc_status refuse;

	(void)state;
	assert_int_equal(
	    authz_check("spiffe://example.org/user/alice", "telex.v1.S", "M", &refuse), 0);
}

static void nobody_without_an_identity_may(void **state)
{
	struct rpc_status refuse = {0};

	(void)state;
	assert_int_equal(authz_check("", "s", "m", &refuse), TX_EPERM);
	assert_int_equal(refuse.code, RPC_UNAUTHENTICATED);
	assert_string_equal(refuse.reason, "NO_IDENTITY");
	assert_int_equal(authz_check(NULL, "s", "m", &refuse), TX_EPERM);
}

static void nobody_else_may(void **state)
{
	static const char *const others[] = {
	    "spiffe://example.org/agent/web1",
	    "spiffe://example.org/user/",
	    "spiffe://example.org/user",
	    "spiffe://example.org/users/alice",
	    "spiffe://example.org/User/alice",
	    "spiffe://example.org/agent/user/alice",
	    "spiffe:///user/alice",
	    "spiffe://",
	    "SPIFFE://example.org/user/alice",
	    "https://example.org/user/alice",
	    "/user/alice",
	    "root",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct rpc_status refuse = {0};

		assert_int_equal(authz_check(others[i], "s", "m", &refuse), TX_EPERM);
		assert_int_equal(refuse.code, RPC_PERMISSION_DENIED);
		assert_string_equal(refuse.reason, "NOT_ALLOWED");
		assert_string_equal(rpc_status_get(&refuse, "identity"), others[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_user_may_call),
	    cmocka_unit_test(nobody_without_an_identity_may),
	    cmocka_unit_test(nobody_else_may),
	};

	return cmocka_run_group_tests_name("authz", tests, NULL, NULL);
}
