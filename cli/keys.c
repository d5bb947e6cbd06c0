/* SPDX-License-Identifier: Apache-2.0 */
/* The escapes of a remote terminal, as ssh has them. */
#include "cli/keys.h"

#define CTRL_Z 0x1a

const char *const keys_help[] = {"at the beginning of a line:", "  ~.   disconnect",
    "  ~^Z  suspend telex", "  ~?   this", "  ~~   a tilde", NULL};

static enum keys_event escape_of(unsigned char c)
{
	switch (c) {
	case '.':
		return KEYS_DISCONNECT;
	case CTRL_Z:
		return KEYS_SUSPEND;
	case '?':
		return KEYS_HELP;
	default:
		return KEYS_NONE;
	}
}

size_t keys_feed(struct keys *k, const unsigned char *in, size_t len, unsigned char *out,
    size_t *out_len, enum keys_event *event)
{
	size_t n = 0;

	*event = KEYS_NONE;
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = in[i];

		if (k->tilde) {
			k->tilde = false;
			*event = escape_of(c);
			if (*event != KEYS_NONE) { /* and the line has not begun */
				*out_len = n;
				return i + 1;
			}
			out[n++] = '~';
			k->in_line = true;
			if (c == '~')
				continue;
		} else if (!k->in_line && c == '~') {
			k->tilde = true;
			continue;
		}
		out[n++] = c;
		k->in_line = c != '\r' && c != '\n';
	}
	*out_len = n;
	return len;
}
