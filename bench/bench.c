/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/bench.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

int64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(1);
}

struct telex_client *bench_client(struct event_base *base, char *const ctx[4])
{
	const struct telex_options options = {.address = ctx[0],
	    .certificate_file = ctx[1],
	    .key_file = ctx[2],
	    .ca_file = ctx[3],
	    .connect_timeout_ms = 60000};
	struct telex_client *client;
	struct telex_error error;

	if (telex_client_new(&client, base, &options, &error) != 0)
		bench_die("client", error.message);
	return client;
}

void bench_times_add(struct bench_times *t, int64_t ns)
{
	if (t->n == t->size) {
		t->size = t->size == 0 ? 256 : t->size * 2;
		t->ns = reallocarray(t->ns, t->size, sizeof(*t->ns));
		if (t->ns == NULL)
			bench_die("memory", "none");
	}
	t->ns[t->n++] = ns;
}

static int compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int64_t bench_times_percentile(struct bench_times *t, unsigned percent)
{
	if (t->n == 0)
		bench_die("times", "none were taken");
	qsort(t->ns, t->n, sizeof(t->ns[0]), compare);
	return t->ns[t->n * percent / 100];
}

void bench_times_free(struct bench_times *t)
{
	free(t->ns);
	*t = (struct bench_times){0};
}

void bench_spawn_local(const char *program)
{
	char *argv[] = {(char *)(uintptr_t)program, NULL};
	char *env[] = {NULL};
	pid_t pid;
	int status;

	if (posix_spawn(&pid, program, NULL, NULL, argv, env) != 0)
		bench_die("posix_spawn", program);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("waitpid", program);
}

void bench_run_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	(void)data;
	(void)eof;
	(void)arg;
	telex_run_consumed(run, stream, len);
}

void bench_run_room(struct telex_run *run, void *arg)
{
	(void)run;
	(void)arg;
}

void bench_run_done(const struct telex_exit *end, const struct telex_error *error)
{
	if (end == NULL)
		bench_die("run", error->message);
	if (end->end != TELEX_END_CODE || end->value != 0)
		bench_die("run", "the program failed");
}
