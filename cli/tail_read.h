/* SPDX-License-Identifier: Apache-2.0 */
/* Where the last lines of a process's outputs begin, by reading what is held of them. */
#ifndef TX_CLI_TAIL_READ_H
#define TX_CLI_TAIL_READ_H

#include <stddef.h>
#include <stdint.h>

#include "cli/session.h"

/* start: by enum telex_stream. 0, or -1 and s->error. */
int tail_read(struct session *s, const char *process_id, size_t lines, uint64_t start[3]);

#endif
