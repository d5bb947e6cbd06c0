/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. A target is one program of tests/fuzz/fuzz_NAME.c that defines
 * LLVMFuzzerTestOneInput: it reads any bytes at all, and must return 0 without a crash, a report of
 * a sanitizer, a leak, or more than some milliseconds. clang's libFuzzer drives it in a build that
 * was configured with --enable-fuzzing, replay.c in any other.
 *
 * A target is deterministic: the same bytes take the same way each time, so nothing is kept from
 * one input to the next but what is never changed.
 */
#ifndef TX_TESTS_FUZZ_FUZZ_H
#define TX_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An input that is taken from its front. At its end there are zeros, and parts of no bytes. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

uint8_t fuzz_byte(struct fuzz_input *in);
/* The next n bytes, at most 8, as a number; the lowest first. */
uint64_t fuzz_number(struct fuzz_input *in, size_t n);
/* The next n bytes, or fewer where there are not so many; *len says. They are the input's. */
const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t n, size_t *len);
/* A length of two bytes, and so many. */
const uint8_t *fuzz_part(struct fuzz_input *in, size_t *len);
/* Up to `end`, which is passed over, or up to the input's end. */
const uint8_t *fuzz_until(struct fuzz_input *in, uint8_t end, size_t *len);
/* As fuzz_until, as a text: up to its first NUL; the caller's to free. */
char *fuzz_text(struct fuzz_input *in, uint8_t end);

/* What is logged is made, at every level, and goes to /dev/null. */
void fuzz_log_nowhere(void);

/* What must be true of any input. Says so and aborts where it is not. */
#define fuzz_require(condition)                                                                    \
	((condition) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #condition))
void fuzz_broken(const char *file, int line, const char *what) __attribute__((noreturn));

#endif
