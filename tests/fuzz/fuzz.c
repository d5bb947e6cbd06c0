/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"

uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->at++;
}

uint64_t fuzz_number(struct fuzz_input *in, size_t n)
{
	uint64_t number = 0;

	for (size_t i = 0; i < n; i++)
		number |= (uint64_t)fuzz_byte(in) << (8 * i);
	return number;
}

const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t n, size_t *len)
{
	const uint8_t *bytes = in->at;

	*len = n < in->left ? n : in->left;
	in->at += *len;
	in->left -= *len;
	return bytes;
}

const uint8_t *fuzz_part(struct fuzz_input *in, size_t *len)
{
	return fuzz_bytes(in, (size_t)fuzz_number(in, 2), len);
}

const uint8_t *fuzz_until(struct fuzz_input *in, uint8_t end, size_t *len)
{
	const uint8_t *found = in->left == 0 ? NULL : memchr(in->at, end, in->left);
	const uint8_t *bytes =
	    fuzz_bytes(in, found == NULL ? in->left : (size_t)(found - in->at), len);

	if (found != NULL)
		fuzz_byte(in);
	return bytes;
}

char *fuzz_text(struct fuzz_input *in, uint8_t end)
{
	size_t len;
	const uint8_t *bytes = fuzz_until(in, end, &len);

	return xmemdup0(bytes, len);
}

void fuzz_log_nowhere(void)
{
	static int fd = -1;

	if (fd >= 0)
		return;
	fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	fuzz_require(fd >= 0);
	log_open("fuzz", LOG_LEVEL_DEBUG, false, fd);
}

void fuzz_broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not true of this input: %s\n", file, line, what);
	abort();
}
