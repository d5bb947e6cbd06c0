/* SPDX-License-Identifier: Apache-2.0 */
/* What the bench programs share. A failure ends the program: nothing here returns one. */
#ifndef TX_BENCH_BENCH_H
#define TX_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"

struct event_base;

int64_t bench_now_ns(void);
void bench_die(const char *what, const char *why) __attribute__((noreturn));
/* A client of `address`, whose certificate, key and CA are the files ctx[1] to ctx[3] (ctx[0] is
 * the address). */
struct telex_client *bench_client(struct event_base *base, char *const ctx[4]);

/* Times of one kind. */
struct bench_times {
	int64_t *ns;
	size_t n, size;
};

void bench_times_add(struct bench_times *t, int64_t ns);
/* The value below which `percent` of them are; sorts. */
int64_t bench_times_percentile(struct bench_times *t, unsigned percent);
void bench_times_free(struct bench_times *t);

/* The program is run here and waited for; it must end with 0. */
void bench_spawn_local(const char *program);

/* Of a run's operations: the output is taken and dropped, and there is no stdin; and its end, which
 * must be with 0. */
void bench_run_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg);
void bench_run_room(struct telex_run *run, void *arg);
void bench_run_done(const struct telex_exit *end, const struct telex_error *error);

#endif
