/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys on their way to a remote terminal, and the escapes among them: at the beginning of a line
 * "~." disconnects, "~^Z" suspends, "~?" lists them, "~~" is one tilde. Anything else after a tilde
 * goes through with it.
 */
#ifndef TX_CLI_KEYS_H
#define TX_CLI_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum keys_event { KEYS_NONE, KEYS_DISCONNECT, KEYS_SUSPEND, KEYS_HELP };

struct keys {
	bool in_line; /* the last key did not begin a line; zero-initialised: at its beginning */
	bool tilde;   /* held back: what it means, the next key tells */
};

/* Takes keys until an escape is complete; returns how many. What goes through is in out, which has
 * room for len + 1. */
size_t keys_feed(struct keys *k, const unsigned char *in, size_t len, unsigned char *out,
    size_t *out_len, enum keys_event *event);

extern const char *const keys_help[]; /* a line each; NULL-terminated */

#endif
