/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/retry.h"

#include <string.h>
#include <sys/random.h>

#include "common/duration.h"
#include "common/rpc_status.h"

#define FIRST_NS (10 * NS_PER_MS)
#define STEP_NS  (50 * NS_PER_MS)
#define MOST_NS  (2 * NS_PER_S)

bool retry_may_pass(const struct telex_error *error)
{
	switch (error->kind) {
	case TELEX_ERROR_LOST:
	case TELEX_ERROR_CONNECT:
	case TELEX_ERROR_RESOLVE:
		return true;
	case TELEX_ERROR_STATUS:
		return error->code == RPC_UNAVAILABLE;
	default:
		return false;
	}
}

bool retry_elsewhere(const struct telex_error *error)
{
	return error->kind == TELEX_ERROR_STATUS && error->code == RPC_UNAVAILABLE &&
	       (strcmp(error->reason, "SHUTTING_DOWN") == 0 ||
	           strcmp(error->reason, "KEEPER_GONE") == 0);
}

bool retry_died(const struct telex_error *error)
{
	return error->kind == TELEX_ERROR_STATUS && strcmp(error->reason, "HELPER_DIED") == 0;
}

bool retry_busy(const struct telex_error *error)
{
	return retry_died(error) ||
	       (error->kind == TELEX_ERROR_STATUS && strcmp(error->reason, "UPLOAD_BUSY") == 0);
}

bool retry_undone(const struct telex_error *error)
{
	return error->kind == TELEX_ERROR_STATUS && error->code == RPC_UNAVAILABLE &&
	       strcmp(error->reason, "SHUTTING_DOWN") == 0;
}

/* The clock is random enough where there are no random bits. */
static uint32_t random_bits(void)
{
	uint32_t bits = 0;

	if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != sizeof(bits))
		bits = (uint32_t)clock_monotonic_ns() * UINT32_C(2654435761);
	return bits;
}

int64_t retry_delay_ns(unsigned n)
{
	int64_t most = FIRST_NS;

	if (n > 0) {
		most = STEP_NS;
		while (--n > 0 && most < MOST_NS)
			most *= 2;
		if (most > MOST_NS)
			most = MOST_NS;
	}
	return (int64_t)((uint64_t)most * random_bits() >> 32);
}
