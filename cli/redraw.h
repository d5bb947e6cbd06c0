/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program on a remote terminal is made to draw its screen again, which nobody here has seen yet
 * or which has our own words in it: its terminal becomes one column narrower, and in a moment as
 * wide as it should be.
 */
#ifndef TX_CLI_REDRAW_H
#define TX_CLI_REDRAW_H

#include "lib/telex.h"

struct event_base;
struct redraw;

struct redraw *redraw_new(struct event_base *base);
/* run must live until redraw_free, or until this returns when there is no terminal here. */
void redraw(struct redraw *r, struct telex_run *run);
/* NULL is allowed. */
void redraw_free(struct redraw *r);

#endif
