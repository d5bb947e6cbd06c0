/* SPDX-License-Identifier: Apache-2.0 */
/* Which errors are worth another try, and how long is waited before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/duration.h"
#include "common/rpc_status.h"
#include "lib/retry.h"

struct wanted {
	enum telex_error_kind kind;
	int code;
	const char *reason;
	bool may_pass, elsewhere, died, busy, undone;
};

static const struct wanted table[] = {
    {TELEX_ERROR_LOST, 0, "", .may_pass = true},
    {TELEX_ERROR_CONNECT, 0, "", .may_pass = true},
    {TELEX_ERROR_RESOLVE, 0, "", .may_pass = true},
    {TELEX_ERROR_USAGE, 0, "", .may_pass = false},
    {TELEX_ERROR_STATUS, RPC_UNAVAILABLE, "", .may_pass = true},
    {TELEX_ERROR_STATUS, RPC_UNAVAILABLE, "SHUTTING_DOWN", .may_pass = true, .elsewhere = true,
        .undone = true},
    {TELEX_ERROR_STATUS, RPC_UNAVAILABLE, "KEEPER_GONE", .may_pass = true, .elsewhere = true},
    {TELEX_ERROR_STATUS, RPC_ABORTED, "HELPER_DIED", .died = true, .busy = true},
    /* Whoever has it may have to write for long: that counts for no death. */
    {TELEX_ERROR_STATUS, RPC_ABORTED, "UPLOAD_BUSY", .busy = true},
    {TELEX_ERROR_STATUS, RPC_ABORTED, "CHANGED", .may_pass = false},
    {TELEX_ERROR_STATUS, RPC_NOT_FOUND, "NO_SUCH_FILE", .may_pass = false},
    /* A reason is the agent's alone. */
    {TELEX_ERROR_USAGE, 0, "HELPER_DIED", .may_pass = false},
};

static void errors_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct telex_error error = {.kind = table[i].kind, .code = table[i].code};

		strcpy(error.reason, table[i].reason);
		assert_int_equal(retry_may_pass(&error), table[i].may_pass);
		assert_int_equal(retry_elsewhere(&error), table[i].elsewhere);
		assert_int_equal(retry_died(&error), table[i].died);
		assert_int_equal(retry_busy(&error), table[i].busy);
		assert_int_equal(retry_undone(&error), table[i].undone);
	}
}

static void waits_grow_to_two_seconds(void **state)
{
	int64_t most = 50 * NS_PER_MS;

	(void)state;
	for (int n = 0; n < 1000; n++)
		assert_in_range(retry_delay_ns(0), 0, 10 * NS_PER_MS);
	for (unsigned tries = 1; tries < 40; tries++) {
		for (int n = 0; n < 1000; n++)
			assert_in_range(retry_delay_ns(tries), 0, most);
		most = most * 2 > 2 * NS_PER_S ? 2 * NS_PER_S : most * 2;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(errors_are_told_apart),
	    cmocka_unit_test(waits_grow_to_two_seconds),
	};

	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
