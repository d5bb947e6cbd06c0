/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pseudo-terminals: making one, and what is not as with pipes.
 *
 * The program's side is the slave; the keeper reads and writes the master. While a job runs the
 * keeper holds the slave open, too: so the master never looks closed only because the program has
 * none open for a moment.
 */
#ifndef TX_KEEPER_TERMINAL_H
#define TX_KEEPER_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct terminal {
	int master; /* non-blocking */
	int slave;
};

/* For terminal_open: whose the slave is to be. */
struct terminal_owner {
	bool change; /* else as it was made */
	uid_t uid;
	gid_t gid;
	gid_t tty; /* (gid_t)-1: there is no such group */
};

/* The group "tty", or (gid_t)-1. */
gid_t terminal_group(void);

/* Both descriptors are the caller's, close-on-exec, and nobody's controlling terminal. TX_ESYS. */
int terminal_open(struct terminal *out, uint16_t rows, uint16_t columns,
    const struct terminal_owner *owner, struct err *e);

/* By either side's descriptor; the foreground process group is told when it changes. 0 or an errno.
 */
int terminal_resize(int fd, uint16_t rows, uint16_t columns);

/* Whether a descriptor is a terminal's. */
bool terminal_is(int fd);

/* Of a master: whether there is something to read; and whether nobody has the slave open any more
 * and all that was written was read. */
bool terminal_has_output(int master);
bool terminal_is_over(int master);

/*
 * What ends the input of whoever reads the terminal now, as a person would type it: 0 to 2
 * characters into out. `last`: the byte that was given last, or -1: none was.
 */
int terminal_end_of_input(int master, int last, uint8_t out[2]);

#endif
