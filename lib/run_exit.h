/* SPDX-License-Identifier: Apache-2.0 */
/* An exit that outlives the message it came in, until the output before it is consumed. */
#ifndef TX_LIB_RUN_EXIT_H
#define TX_LIB_RUN_EXIT_H

#include "lib/telex.h"

struct run_exit {
	struct telex_exit exit; /* its strings are behind it */
	char text[];
};

/* One allocation, the caller's to free; NULL: out of memory. */
struct run_exit *run_exit_copy(const struct telex_exit *exit);

#endif
