/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to read or write an inherited descriptor without waiting in it, and without touching what
 * others share: the flags of an inherited open file description (O_NONBLOCK) belong to everybody
 * who has it.
 */
#ifndef TX_CLI_FDKIND_H
#define TX_CLI_FDKIND_H

#include <stdbool.h>

enum fdkind {
	FDKIND_PLAIN,  /* regular file, block device, /dev/null and its like: never waits; no events
	                */
	FDKIND_OWN,    /* pipe or terminal, opened anew for ourselves, non-blocking */
	FDKIND_SOCKET, /* MSG_DONTWAIT */
	FDKIND_SHARED, /* all that is left: poll, then a small transfer */
};

struct fdkind_fd {
	enum fdkind kind;
	int fd;     /* to use */
	bool owned; /* fd is ours to close */
};

/* For writing or for reading. 0, or the errno for a descriptor that is not open that way. */
int fdkind_open(struct fdkind_fd *out, int fd, bool writing);
/* It is /dev/null, or nothing at all. */
bool fdkind_is_null(int fd);
void fdkind_close(struct fdkind_fd *f);

#endif
