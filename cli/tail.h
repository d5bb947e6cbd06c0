/* SPDX-License-Identifier: Apache-2.0 */
/* Where the last lines of an output begin: it is looked through once, and where its lines begin is
 * kept for so many of them. */
#ifndef TX_CLI_TAIL_H
#define TX_CLI_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAIL_MAX 100000

struct tail {
	uint64_t *starts; /* of lines: a ring */
	size_t lines, used, at;
	uint64_t end;
	bool in_line;
};

/* lines: 0 to TAIL_MAX. */
void tail_init(struct tail *t, size_t lines);
void tail_clear(struct tail *t);
/* The next bytes; what lies between is no line's end. */
void tail_feed(struct tail *t, uint64_t offset, const void *data, size_t len);
/* Where the last lines begin; without bytes, `offset`. */
uint64_t tail_start(const struct tail *t, uint64_t offset);

#endif
