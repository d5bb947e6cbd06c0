/* SPDX-License-Identifier: Apache-2.0 */
/* telex's own words: one line each on stderr, "telex: …", foreign bytes in them escaped. */
#ifndef TX_CLI_SAY_H
#define TX_CLI_SAY_H

#include <stdbool.h>
#include <stddef.h>

/* -1: only errors; 0; 1: details too. */
void say_verbosity(int verbosity);
/* Whether say_detail says anything. */
bool say_details(void);

/* Lines go through this instead of a write that may wait; NULL: to stderr again. */
void say_through(void (*write)(const void *text, size_t len, void *arg), void *arg);

/* The terminal is raw: a line must go back to its beginning by itself. */
void say_raw(bool raw);

/* What went wrong; always said. */
void say_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What is good to know; not with -q. */
void say_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* With -v. */
void say_detail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
