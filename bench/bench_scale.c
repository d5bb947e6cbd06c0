/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many at once: P4, P16, P17 and P18.
 *
 * Usage: bench_scale ADDRESS CERT KEY CA COMMAND
 *   rate N IN-FLIGHT PROGRAM   runs N, in slices, in turn with two local loops of posix_spawn;
 *                              prints "telex RATE" and "local RATE", in programs a second
 *   hold CONNECTIONS JOBS      opens and starts, prints "held", ends both when stdin ends
 *   work ROUNDS JOBS…          for each number (growing): starts up to it, prints
 *                              "JOBS list P50 attach P50 signal P50", in nanoseconds; ends them
 */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define GROUP      "bench"
#define AT_ONCE    ((size_t)64)
#define SLICES     ((size_t)10)
#define LOCAL_JOBS 2
#define ATTACHES   ((size_t)200) /* each leaves by a reset, and thousands of those are an attack */
#define LONG_MS    600000

/* ---- calls, some at a time ---- */

struct flight {
	struct event_base *base;
	size_t todo, flying, most;
	void (*launch)(struct flight *f, size_t i);
	size_t next;
	struct telex_client **clients;
	size_t n_clients;
	const char *program;
};

static void fly(struct flight *f)
{
	while (f->flying < f->most && f->todo > 0) {
		f->todo--;
		f->flying++;
		f->launch(f, f->next++);
	}
	if (f->flying == 0)
		event_base_loopbreak(f->base);
}

static void landed(struct flight *f)
{
	f->flying--;
	fly(f);
}

static void fly_all(struct flight *f, size_t n, size_t most)
{
	f->todo = n;
	f->most = most;
	if (n == 0)
		return;
	fly(f);
	event_base_loop(f->base, 0);
}

static void on_answer(const struct telex_error *error, void *arg)
{
	if (error != NULL)
		bench_die("call", error->message);
	landed(arg);
}

/* ---- runs ---- */

static void on_done(
    struct telex_run *run, const struct telex_exit *end, const struct telex_error *error, void *arg)
{
	(void)run;
	bench_run_done(end, error);
	landed(arg);
}

static void launch_run(struct flight *f, size_t i)
{
	static const struct telex_run_ops ops = {
	    .output = bench_run_output, .stdin_room = bench_run_room, .done = on_done};
	const char *argv[] = {f->program, NULL};
	const struct telex_command command = {.argv = argv, .heartbeat_ms = -1};
	struct telex_error error;
	struct telex_run *run;

	(void)i;
	if (telex_run(f->clients[0], &run, &command, &ops, f, &error) != 0)
		bench_die("telex_run", error.message);
}

/* Two processes, each with half of n. */
static void local_loop(const char *program, size_t n)
{
	for (int i = 0; i < LOCAL_JOBS; i++) {
		pid_t pid = fork();

		if (pid < 0)
			bench_die("fork", "failed");
		if (pid > 0)
			continue;
		for (size_t k = 0; k < n / LOCAL_JOBS; k++)
			bench_spawn_local(program);
		_exit(0);
	}
	for (int i = 0; i < LOCAL_JOBS; i++) {
		int status;

		if (wait(&status) < 0 || status != 0)
			bench_die("local loop", "failed");
	}
}

static int cmd_rate(struct flight *f, char **args)
{
	size_t n = strtoul(args[0], NULL, 10) / SLICES, most = strtoul(args[1], NULL, 10);
	struct bench_times telex = {0}, local = {0};
	int64_t start;

	f->launch = launch_run;
	f->program = args[2];
	fly_all(f, most, most);
	for (size_t i = 0; i < SLICES; i++) {
		start = bench_now_ns();
		fly_all(f, n, most);
		bench_times_add(&telex, bench_now_ns() - start);
		start = bench_now_ns();
		local_loop(f->program, n);
		bench_times_add(&local, bench_now_ns() - start);
	}
	printf("telex %.0f\nlocal %.0f\n",
	    (double)n * 1e9 / (double)bench_times_percentile(&telex, 50),
	    (double)n * 1e9 / (double)bench_times_percentile(&local, 50));
	bench_times_free(&telex);
	bench_times_free(&local);
	return 0;
}

/* ---- idle connections, idle jobs ---- */

static void launch_connection(struct flight *f, size_t i)
{
	struct telex_error error;

	if (telex_health(f->clients[i], NULL, LONG_MS, NULL, on_answer, f, &error) != 0)
		bench_die("telex_health", error.message);
}

static void job_id(char out[40], size_t i)
{
	snprintf(out, 40, "bench-%d-%zu", (int)getpid(), i);
}

static void launch_job(struct flight *f, size_t i)
{
	static const char *const argv[] = {"sleep", "1000000", NULL};
	char id[40];
	const struct telex_command command = {.process_id = id, .argv = argv, .group = GROUP};
	struct telex_error error;

	job_id(id, i);
	if (telex_start(f->clients[0], &command, LONG_MS, NULL, on_answer, f, &error) != 0)
		bench_die("telex_start", error.message);
}

static void start_jobs(struct flight *f, size_t n)
{
	f->launch = launch_job;
	fly_all(f, n, AT_ONCE);
}

static void end_jobs(struct flight *f)
{
	const struct telex_signal_options kill = {.signo = SIGKILL};
	struct telex_error error;

	f->flying = 1;
	if (telex_group_signal(f->clients[0], GROUP, &kill, LONG_MS, NULL, on_answer, f, &error) !=
	    0)
		bench_die("telex_group_signal", error.message);
	event_base_loop(f->base, 0);
}

static void open_connections(struct flight *f, size_t n, char *const ctx[4])
{
	f->clients = reallocarray(f->clients, n + 1, sizeof(*f->clients));
	if (f->clients == NULL)
		bench_die("memory", "none");
	for (; f->n_clients <= n; f->n_clients++)
		f->clients[f->n_clients] = bench_client(f->base, ctx);
	f->launch = launch_connection;
	f->next = 0;
	fly_all(f, n, AT_ONCE);
	f->next = 0;
}

static void on_stdin(evutil_socket_t fd, short what, void *base)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(base);
}

static int cmd_hold(struct flight *f, char **args, char *const ctx[4])
{
	size_t connections = strtoul(args[0], NULL, 10), jobs = strtoul(args[1], NULL, 10);
	struct event *end;

	open_connections(f, connections, ctx);
	start_jobs(f, jobs);
	printf("held\n");
	fflush(stdout);
	/* The clients answer what comes, as idle ones do. */
	end = event_new(f->base, STDIN_FILENO, EV_READ, on_stdin, f->base);
	if (end == NULL || event_add(end, NULL) != 0)
		bench_die("stdin", "cannot wait for its end");
	event_base_loop(f->base, 0);
	event_free(end);
	if (jobs > 0)
		end_jobs(f);
	return 0;
}

/* ---- work among many ---- */

static void attach_started(struct telex_run *run, const struct telex_started *started, void *arg)
{
	(void)started;
	telex_run_detach(run);
	landed(arg);
}

static void launch_attach(struct flight *f, size_t i)
{
	static const struct telex_run_ops ops = {.started = attach_started,
	    .output = bench_run_output,
	    .stdin_room = bench_run_room,
	    .done = on_done};
	const struct telex_attach attach = {.process_id = f->program, .heartbeat_ms = -1};
	struct telex_error error;
	struct telex_run *run;

	(void)i;
	if (telex_attach(f->clients[0], &run, &attach, &ops, f, &error) != 0)
		bench_die("telex_attach", error.message);
}

static void launch_signal(struct flight *f, size_t i)
{
	const struct telex_signal_options cont = {.signo = SIGCONT};
	struct telex_error error;

	(void)i;
	if (telex_signal(f->clients[0], f->program, &cont, LONG_MS, on_answer, f, &error) != 0)
		bench_die("telex_signal", error.message);
}

static void launch_list(struct flight *f, size_t i)
{
	struct telex_error error;

	(void)i;
	if (telex_list(f->clients[0], NULL, LONG_MS, NULL, NULL, on_answer, f, &error) != 0)
		bench_die("telex_list", error.message);
}

/* The median time of one, a job of the middle as its subject. */
static long long measure(
    struct flight *f, void (*launch)(struct flight *f, size_t i), size_t rounds, size_t jobs)
{
	struct bench_times t = {0};
	char id[40];
	long long p50;

	job_id(id, jobs / 2);
	f->program = id;
	f->launch = launch;
	fly_all(f, 1, 1);
	for (size_t i = 0; i < rounds; i++) {
		int64_t start;

		event_base_loop(f->base, EVLOOP_NONBLOCK);
		start = bench_now_ns();
		fly_all(f, 1, 1);
		bench_times_add(&t, bench_now_ns() - start);
	}
	p50 = bench_times_percentile(&t, 50);
	bench_times_free(&t);
	return p50;
}

static int cmd_work(struct flight *f, char **args)
{
	size_t rounds = strtoul(args[0], NULL, 10), have = 0;

	for (int i = 1; args[i] != NULL; i++) {
		size_t jobs = strtoul(args[i], NULL, 10);
		size_t lists = rounds / 10 > 5 ? rounds / 10 : 5;
		long long list, attach, sig;

		f->next = have;
		start_jobs(f, jobs > have ? jobs - have : 0);
		have = jobs;
		list = measure(f, launch_list, lists, jobs);
		attach = measure(f, launch_attach, rounds < ATTACHES ? rounds : ATTACHES, jobs);
		sig = measure(f, launch_signal, rounds, jobs);
		printf("%zu list %lld attach %lld signal %lld\n", jobs, list, attach, sig);
		fflush(stdout);
	}
	end_jobs(f);
	return 0;
}

int main(int argc, char **argv)
{
	struct flight f = {.base = event_base_new(), .n_clients = 1};
	int status = 2;

	if (argc < 8 || f.base == NULL)
		bench_die("usage", "bench_scale ADDRESS CERT KEY CA rate|hold|work ARGUMENT…");
	f.clients = calloc(1, sizeof(*f.clients));
	if (f.clients == NULL)
		bench_die("memory", "none");
	f.clients[0] = bench_client(f.base, argv + 1);
	if (strcmp(argv[5], "rate") == 0 && argc == 9)
		status = cmd_rate(&f, argv + 6);
	else if (strcmp(argv[5], "hold") == 0 && argc == 8)
		status = cmd_hold(&f, argv + 6, argv + 1);
	else if (strcmp(argv[5], "work") == 0)
		status = cmd_work(&f, argv + 6);
	for (size_t i = 0; i < f.n_clients; i++)
		telex_client_free(f.clients[i]);
	free(f.clients);
	event_base_free(f.base);
	return status;
}
