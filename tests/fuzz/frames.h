/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 as a hostile peer speaks it: an input is read as frames, most of them well formed, so that
 * what comes behind the framing is reached. Each begins with a byte:
 *
 *     0   a part as it is, whatever it is
 *     1   HEADERS: stream, flags, and a part of lines "name: value", not indexed
 *     2   DATA: stream, flags, part
 *     3   the same with a gRPC message's prefix: stream, flags, how (1: says that it is compressed;
 *         2: and is; 4: its length is wrong; 8: the part sixteen times), part
 *     4   SETTINGS: flags, part         5   PING: flags, part
 *     6   RST_STREAM: stream, code      7   GOAWAY: stream, code, part
 *     8   WINDOW_UPDATE: stream, part   9   CONTINUATION: stream, flags, lines
 *     10  any type: type, stream, flags, part
 *     11  a gRPC request: stream, flags, and the rest of the lines of its headers
 *     12  the same as the last, so many times
 *     13  the other side has its turn   14  it does something of its own: what
 *     15  a gRPC response: as 11
 *
 * A stream is a byte: the number itself. More than 15: modulo 16.
 */
#ifndef TX_TESTS_FUZZ_FRAMES_H
#define TX_TESTS_FUZZ_FRAMES_H

#include <stdint.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/h2_pair.h"

struct frames {
	struct h2_pair *pair;
	struct h2_pair_side *raw;             /* from where they are sent */
	void (*turn)(void *arg);              /* runs the loop */
	void (*act)(uint8_t what, void *arg); /* of the side that is not raw */
	void *arg;
};

/* All of them. Ends early where the raw side has no connection any more. */
void frames_play(const struct frames *f, struct fuzz_input *in);
/* Some passes of the loop: enough for what is sent to be answered. */
void frames_settle(struct h2_pair *p);

#endif
