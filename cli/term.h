/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal we were started on: its size, and its keys as they are (raw mode). Whatever ends
 * this program but SIGKILL leaves the terminal as it was: term_free, exit, abort, a crash. One at a
 * time.
 */
#ifndef TX_CLI_TERM_H
#define TX_CLI_TERM_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct term;

/* The size of the terminal on stdin, stdout or stderr, or of the controlling one; 24 rows of 80
 * where there is none or it does not know: false. At most 10000 each. */
bool term_size(uint16_t *rows, uint16_t *columns);

struct term_ops {
	/* It may have another size now. */
	void (*resized)(void *arg);
};

/* raw: stdin is a terminal; its keys come as they are from now on, and what suspends us (SIGTSTP)
 * gives it back while we are stopped. Else only its size is watched. */
struct term *term_new(struct event_base *base, bool raw, const struct term_ops *ops, void *arg);
/* As it was. Allowed in its callback. NULL is allowed. */
void term_free(struct term *t);
/* Stops us as Ctrl-Z would, until somebody continues us. */
void term_suspend(struct term *t);
/* A key came: raw again, should somebody have continued us where we could not see it. */
void term_awake(struct term *t);

#endif
