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
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/ssh_mux.h"
#include "lib/telex.h"

struct measured {
	int64_t *ns;
	size_t n;
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(const char *name, struct measured *m)
{
	qsort(m->ns, m->n, sizeof(m->ns[0]), compare);
	printf(
	    "%s %lld %lld\n", name, (long long)m->ns[m->n / 2], (long long)m->ns[m->n * 99 / 100]);
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "bench_spawn: %s: %s\n", what, why);
	exit(1);
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	(void)data;
	(void)eof;
	(void)arg;
	telex_run_consumed(run, stream, len);
}

static void on_room(struct telex_run *run, void *arg)
{
	(void)run;
	(void)arg;
}

static void on_done(
    struct telex_run *run, const struct telex_exit *end, const struct telex_error *error, void *arg)
{
	(void)run;
	if (end == NULL)
		die("run", error->message);
	if (end->end != TELEX_END_CODE || end->value != 0)
		die("run", "the program failed");
	event_base_loopbreak(arg);
}

static void run_telex(struct event_base *base, struct telex_client *client, const char *program)
{
	static const struct telex_run_ops ops = {
	    .output = on_output, .stdin_room = on_room, .done = on_done};
	const char *argv[] = {program, NULL};
	const struct telex_command command = {.argv = argv, .heartbeat_ms = -1};
	struct telex_error error;
	struct telex_run *run;

	if (telex_run(client, &run, &command, &ops, base, &error) != 0)
		die("telex_run", error.message);
	event_base_loop(base, 0);
}

static void run_spawn(const char *program)
{
	char *argv[] = {(char *)(uintptr_t)program, NULL};
	char *env[] = {NULL};
	pid_t pid;
	int status;

	if (posix_spawn(&pid, program, NULL, NULL, argv, env) != 0)
		die("posix_spawn", program);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("waitpid", program);
}

static struct measured measured_new(size_t n)
{
	struct measured m = {calloc(n, sizeof(int64_t)), 0};

	if (m.ns == NULL)
		die("memory", "none");
	return m;
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct measured telex, spawn, ssh;
	struct telex_client *client;
	struct telex_error error;
	struct telex_options options = {0};
	size_t rounds;

	if (argc < 7 || base == NULL || null_fd < 0)
		die("usage", "bench_spawn ROUNDS PROGRAM ADDRESS CERT KEY CA [SSH-CONTROL-PATH]");
	rounds = strtoul(argv[1], NULL, 10);
	options.address = argv[3];
	options.certificate_file = argv[4];
	options.key_file = argv[5];
	options.ca_file = argv[6];
	if (telex_client_new(&client, base, &options, &error) != 0)
		die("client", error.message);
	telex = measured_new(rounds);
	spawn = measured_new(rounds);
	ssh = measured_new(rounds);
	run_telex(base, client, argv[2]); /* connects */
	for (size_t i = 0; i < rounds; i++) {
		int64_t start = now_ns();

		run_telex(base, client, argv[2]);
		telex.ns[telex.n++] = now_ns() - start;
		start = now_ns();
		run_spawn(argv[2]);
		spawn.ns[spawn.n++] = now_ns() - start;
		if (argc < 8)
			continue;
		start = now_ns();
		if (ssh_mux_run(argv[7], argv[2], null_fd) != 0)
			die("ssh", "the multiplexed command failed");
		ssh.ns[ssh.n++] = now_ns() - start;
	}
	report("telex", &telex);
	report("spawn", &spawn);
	if (ssh.n > 0)
		report("ssh", &ssh);
	telex_client_free(client);
	event_base_free(base);
	free(telex.ns);
	free(spawn.ns);
	free(ssh.ns);
	close(null_fd);
	return 0;
}
