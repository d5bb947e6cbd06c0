/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of P5: writes BYTES zeros to stdout, 128 KiB at a time, and does nothing else, so
 * that what is measured is the way from its stdout and not the program. With "sink": the process of
 * P6, which reads stdin to its end and fails unless BYTES came.
 *
 * Usage: bench_writer BYTES [sink]
 */
#include <stdlib.h>
#include <unistd.h>

static char buffer[128 * 1024];

static int source(unsigned long long left)
{
	while (left > 0) {
		ssize_t n = write(1, buffer, left < sizeof(buffer) ? left : sizeof(buffer));

		if (n <= 0)
			return 1;
		left -= (unsigned long long)n;
	}
	return 0;
}

static int sink(unsigned long long wanted)
{
	unsigned long long got = 0;
	ssize_t n;

	while ((n = read(0, buffer, sizeof(buffer))) > 0)
		got += (unsigned long long)n;
	return n == 0 && got == wanted ? 0 : 1;
}

int main(int argc, char **argv)
{
	unsigned long long bytes = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;

	if (argc < 2)
		return 2;
	return argc > 2 ? sink(bytes) : source(bytes);
}
