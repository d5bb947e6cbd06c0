/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ends of a stream under faults: what comes is checked byte by byte against its offset.
 *
 *   gen SEED RATE   writes the pattern at RATE bytes a second until SIGTERM; "hears" to stderr
 *                   once that would be heard, then "gen TOTAL"; status 43
 *   verify SEED     reads to the end and checks; "ok TOTAL" or "bad OFFSET", status 0 or 1
 *   tick MICROS     writes the time (CLOCK_MONOTONIC) as a line each MICROS until SIGTERM, and
 *                   "hears" as gen does; status 42
 *   latency         reads ticks; "ARRIVAL LATENCY" (ns) for each that is older than 5 ms, "ticks
 *                   N" at the end; status 1 when one is missing or doubled
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE    ((size_t)32768)
#define NS       INT64_C(1000000000)
#define LATE_NS  INT64_C(5000000)
#define TICK_LEN 21 /* 20 digits and a newline */

static volatile sig_atomic_t ended;

static void on_term(int signo)
{
	(void)signo;
	ended = 1;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

static void wait_until(int64_t ns)
{
	struct timespec t = {.tv_sec = ns / NS, .tv_nsec = ns % NS};

	if (!ended)
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Eight bytes of the pattern: splitmix64 of their number. */
static uint64_t word_at(uint64_t seed, uint64_t number)
{
	uint64_t z = seed + (number + 1) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void fill(uint8_t *to, size_t len, uint64_t seed, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		uint64_t word = word_at(seed, offset / 8);
		size_t skip = (size_t)(offset % 8), n = 8 - skip;

		if (n > len - done)
			n = len - done;
		memcpy(to + done, (uint8_t *)&word + skip, n);
		done += n;
		offset += n;
	}
}

/* False: nobody reads any longer. */
static bool put(const uint8_t *data, size_t len, uint64_t *total)
{
	while (len > 0) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		data += n;
		len -= (size_t)n;
		*total += (uint64_t)n;
	}
	return true;
}

static int generate(uint64_t seed, uint64_t rate)
{
	const int64_t begun = now_ns();
	static uint8_t piece[PIECE];
	uint64_t total = 0;

	fputs("hears\n", stderr);
	while (!ended) {
		fill(piece, PIECE, seed, total);
		if (!put(piece, PIECE, &total))
			break;
		wait_until(begun + (int64_t)((double)total / (double)rate * (double)NS));
	}
	fprintf(stderr, "gen %" PRIu64 "\n", total);
	return 43;
}

static int verify(uint64_t seed)
{
	static uint8_t got[PIECE], want[PIECE];
	uint64_t total = 0;

	for (;;) {
		ssize_t n = read(STDIN_FILENO, got, sizeof(got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		fill(want, (size_t)n, seed, total);
		for (size_t i = 0; i < (size_t)n; i++) {
			if (got[i] == want[i])
				continue;
			printf("bad %" PRIu64 "\n", total + i);
			return 1;
		}
		total += (uint64_t)n;
	}
	printf("ok %" PRIu64 "\n", total);
	return 0;
}

static int tick(int64_t micros)
{
	int64_t next = now_ns();
	uint64_t total = 0;
	char line[32];

	fputs("hears\n", stderr);
	while (!ended) {
		int len = snprintf(line, sizeof(line), "%020" PRId64 "\n", now_ns());

		if (!put((const uint8_t *)line, (size_t)len, &total))
			break;
		next += micros * 1000;
		wait_until(next);
	}
	fprintf(stderr, "gen %" PRIu64 "\n", total / TICK_LEN);
	return 42;
}

static int latency(void)
{
	int64_t before = 0;
	uint64_t ticks = 0;
	char line[64];

	while (fgets(line, sizeof(line), stdin) != NULL) {
		int64_t arrival = now_ns(), sent = strtoll(line, NULL, 10);

		if (strlen(line) != TICK_LEN || sent <= before) {
			printf("bad %" PRIu64 "\n", ticks);
			return 1;
		}
		before = sent;
		ticks++;
		if (arrival - sent < LATE_NS)
			continue;
		printf("%" PRId64 " %" PRId64 "\n", arrival, arrival - sent);
		fflush(stdout);
	}
	printf("ticks %" PRIu64 "\n", ticks);
	return 0;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (*text == '\0' || *end != '\0') {
		fprintf(stderr, "fault_stream: '%s' is not a number\n", text);
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	struct sigaction act = {.sa_handler = on_term};

	sigaction(SIGTERM, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && strcmp(argv[1], "gen") == 0)
		return generate(number(argv[2]), number(argv[3]));
	if (argc == 3 && strcmp(argv[1], "verify") == 0)
		return verify(number(argv[2]));
	if (argc == 3 && strcmp(argv[1], "tick") == 0)
		return tick((int64_t)number(argv[2]));
	if (argc == 2 && strcmp(argv[1], "latency") == 0)
		return latency();
	fprintf(
	    stderr, "usage: fault_stream gen SEED RATE | verify SEED | tick MICROS | latency\n");
	return 2;
}
