/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent without processes, in the test's own event base, over real TLS on a loopback port. What
 * a "process" does is said by its argv[0]; see fake_acts.h and fake_flow.h. Remembers what it was
 * told.
 */
#ifndef TX_TESTS_FAKE_AGENT_H
#define TX_TESTS_FAKE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct fake_agent;
struct fake_download;
struct fake_upload;
struct fake_watch;
struct flow_table;
struct tls_ctx;

/* What the clients did. */
struct fake_seen {
	unsigned connections; /* that were authenticated */
	unsigned calls, open; /* in all, and now */
	uint64_t stdin_bytes;
	unsigned stdin_chunks;
	bool stdin_eof, stdin_wrong; /* not the pattern, or not at the offset that was expected */
	uint64_t acked[3];           /* by stream */
	unsigned acks;
	int signo;
	bool process_only;
	char process_id[128];
	/* What the flows saw (fake_flow.h). */
	unsigned starts, created, attaches, exit_acks, signals, resizes;
	uint32_t rows, columns;
	bool lossy;
	const char *rules_broken; /* by the client; NULL: none */
	/* And the questions (fake_questions.h). */
	unsigned questions;
	char asked[128]; /* the last: "wait p1" */
	bool released;
};

struct fake_agent *fake_agent_new(struct event_base *base, struct tls_ctx *ctx);
void fake_agent_free(struct fake_agent *a);
uint16_t fake_agent_port(const struct fake_agent *a);
struct fake_seen *fake_agent_seen(struct fake_agent *a);
/* How many calls at once a connection may have, from the next connection on. */
void fake_agent_limit(struct fake_agent *a, uint32_t max_streams);
/* Ends all connections: with GOAWAY, or by closing the sockets. */
void fake_agent_drain(struct fake_agent *a);
void fake_agent_cut(struct fake_agent *a);
/* Answers the next n Run calls with UNAVAILABLE and this reason. */
void fake_agent_refuse(struct fake_agent *a, unsigned n, const char *reason);
/* Ends all Run calls with this. */
void fake_agent_fail(struct fake_agent *a, int code, const char *reason);
/* What was held is told or done. */
void fake_agent_release(struct fake_agent *a);
/* The flows. */
struct flow_table *fake_agent_flows(struct fake_agent *a);
/* The upload (fake_upload.h), the download (fake_download.h), the watch (fake_watch.h). */
struct fake_upload *fake_agent_upload(struct fake_agent *a);
struct fake_download *fake_agent_download(struct fake_agent *a);
struct fake_watch *fake_agent_watch(struct fake_agent *a);
/* Reads no more of the connections that are there now. */
void fake_agent_stop(struct fake_agent *a);
/* Acknowledges all stdin that "hold" processes have got. */
void fake_agent_ack(struct fake_agent *a);

/* The byte at an offset of every stream of test data. */
static inline uint8_t fake_pattern(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

#endif
