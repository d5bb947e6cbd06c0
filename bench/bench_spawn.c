/* SPDX-License-Identifier: Apache-2.0 */
/*
 * P1 and P2: the time of one run of a program over a warm connection, in turn with ssh over its
 * master and with a local posix_spawn, so that a drift of the machine meets all three alike.
 *
 * Usage: bench_spawn ROUNDS PROGRAM ADDRESS CERT KEY CA [SSH-CONTROL-PATH]
 * Prints, in nanoseconds: "telex P50 P99", "spawn P50 P99" and, with a control path, "ssh P50 P99".
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/ssh_mux.h"

static void report(const char *name, struct bench_times *t)
{
	int64_t p50 = bench_times_percentile(t, 50), p99 = bench_times_percentile(t, 99);

	printf("%s %lld %lld\n", name, (long long)p50, (long long)p99);
	bench_times_free(t);
}

static void on_done(
    struct telex_run *run, const struct telex_exit *end, const struct telex_error *error, void *arg)
{
	(void)run;
	bench_run_done(end, error);
	event_base_loopbreak(arg);
}

static void run_telex(struct event_base *base, struct telex_client *client, const char *program)
{
	static const struct telex_run_ops ops = {
	    .output = bench_run_output, .stdin_room = bench_run_room, .done = on_done};
	const char *argv[] = {program, NULL};
	const struct telex_command command = {.argv = argv, .heartbeat_ms = -1};
	struct telex_error error;
	struct telex_run *run;

	if (telex_run(client, &run, &command, &ops, base, &error) != 0)
		bench_die("telex_run", error.message);
	event_base_loop(base, 0);
}

/* What the last run still has to say is not the next one's time. */
static void settle(struct event_base *base)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct bench_times telex = {0}, spawn = {0}, ssh = {0};
	struct telex_client *client;
	size_t rounds;

	if (argc < 7 || base == NULL || null_fd < 0)
		bench_die(
		    "usage", "bench_spawn ROUNDS PROGRAM ADDRESS CERT KEY CA [SSH-CONTROL-PATH]");
	rounds = strtoul(argv[1], NULL, 10);
	client = bench_client(base, argv + 3);
	run_telex(base, client, argv[2]); /* connects */
	for (size_t i = 0; i < rounds; i++) {
		int64_t start;

		settle(base);
		start = bench_now_ns();
		run_telex(base, client, argv[2]);
		bench_times_add(&telex, bench_now_ns() - start);
		start = bench_now_ns();
		bench_spawn_local(argv[2]);
		bench_times_add(&spawn, bench_now_ns() - start);
		if (argc < 8)
			continue;
		start = bench_now_ns();
		if (ssh_mux_run(argv[7], argv[2], null_fd) != 0)
			bench_die("ssh", "the multiplexed command failed");
		bench_times_add(&ssh, bench_now_ns() - start);
	}
	report("telex", &telex);
	report("spawn", &spawn);
	if (ssh.n > 0)
		report("ssh", &ssh);
	telex_client_free(client);
	event_base_free(base);
	close(null_fd);
	return 0;
}
