/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from an input, by their descriptors: whatever the bytes are, what comes out can be
 * unpacked, so that what is behind the unpacking is reached.
 *
 * A field is a byte, 0: no more, else which one; then its value: a number as how many bytes it has
 * (0 to 8) and these; a text as a byte, below 128 its length, else which of some texts; a message
 * as its fields. A field may come more than once.
 */
#ifndef TX_TESTS_FUZZ_MESSAGE_H
#define TX_TESTS_FUZZ_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fuzz/fuzz.h"

/* What the '@' stands for that a text may begin with; NULL: for itself. */
extern const char *fuzz_message_place;

/* Packed; the caller's to free. */
uint8_t *fuzz_message(struct fuzz_input *in, const ProtobufCMessageDescriptor *type, size_t *len);

#endif
