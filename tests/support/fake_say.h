/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent may say in a Run call, for the fake ones. */
#ifndef TX_TESTS_FAKE_SAY_H
#define TX_TESTS_FAKE_SAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_call;

#define FAKE_PID 4711

struct fake_started {
	bool created, queued, terminal;
	uint64_t stdin_offset;
	uint64_t oldest[3], newest[3]; /* by stream */
};

void fake_say_started(struct rpc_call *c, const struct fake_started *s);
void fake_say_running(struct rpc_call *c);
void fake_say_output(
    struct rpc_call *c, int stream, uint64_t offset, const void *data, size_t len, bool eof);
void fake_say_ack(struct rpc_call *c, uint64_t offset, bool closed);
void fake_say_heartbeat(struct rpc_call *c);
/* signo 0: code. The lengths are of stdout and stderr. */
void fake_say_exit(struct rpc_call *c, int code, int signo, uint64_t out, uint64_t err);

/* protobuf-c's structs have no const. */
char *fake_text(const char *s);

#endif
