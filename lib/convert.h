/* SPDX-License-Identifier: Apache-2.0 */
/* From protobuf messages to the public structs. The results point into the messages and live no
 * longer than they. */
#ifndef TX_LIB_CONVERT_H
#define TX_LIB_CONVERT_H

#include "lib/telex.h"
#include "telex/v1/process.pb-c.h"
#include "telex/v1/system.pb-c.h"

void convert_exit(struct telex_exit *out, const Telex__V1__Exit *in);

/* The policy, DEFAULT when the agent does not say, and its wait. */
enum telex_disconnect convert_disconnect(const Telex__V1__Process *in, int64_t *wait_ms);

struct convert_process {
	struct telex_process process;
	struct telex_exit exit;
	char *text; /* argv, NUL-terminated, one block */
	const char **argv;
};

/* 0 or TX_ENOMEM. */
int convert_process(struct convert_process *out, const Telex__V1__Process *in);
void convert_process_free(struct convert_process *p);

void convert_group(struct telex_group *out, const Telex__V1__ProcessGroup *in);

/* capabilities: in->n_capabilities pointers are in->capabilities itself. */
void convert_info(struct telex_info *out, const Telex__V1__GetInfoResponse *in);

#endif
