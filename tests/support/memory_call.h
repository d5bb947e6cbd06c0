/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent/files/call.h in memory: a call's messages are queued before it, its responses are kept for
 * after it. One call after the other by one struct, as telex-files serves them.
 */
#ifndef TX_TESTS_SUPPORT_MEMORY_CALL_H
#define TX_TESTS_SUPPORT_MEMORY_CALL_H

#include "agent/files/call.h"

/* What may be read and written is these patterns, NULL at their end; NULL: nothing. Aborts the test
 * where it cannot. */
struct call *memory_call_new(const char *const *read, const char *const *write);
void memory_call_free(struct call *c);
void memory_call_limits(struct call *c, uint64_t max_upload_bytes, uint64_t max_upload_files);
/* Of parts in one folder; 1000 before. */
void memory_call_unfinished(struct call *c, unsigned most);

/* One more message behind the first. */
void memory_call_queue(struct call *c, const ProtobufCMessage *m);
void memory_call_queue_raw(struct call *c, const void *data, size_t len);
/* The worker is gone once the queue is empty; else the client has ended its half then. */
void memory_call_cut(struct call *c);
/* From that answer of call_gone on it is true: the nth, counted from 1. */
void memory_call_gone_at(struct call *c, unsigned long n);
/* Instead of a queue: fills the next message, or returns 0: no more. *data lives until the next. */
typedef size_t memory_call_feed(const uint8_t **data, void *arg);
void memory_call_set_feed(struct call *c, memory_call_feed *feed, void *arg);
/* Instead of keeping responses. */
typedef void memory_call_sink(const uint8_t *data, size_t len, void *arg);
void memory_call_set_sink(struct call *c, memory_call_sink *sink, void *arg);

/* Runs a method with its first message, which goes through packing and back. The status' code; what
 * was queued, cut, fed and sunk is over then. */
int memory_call_run(struct call *c, const char *method, const ProtobufCMessage *request);
const struct rpc_status *memory_call_status(const struct call *c);
const char *memory_call_summary(const struct call *c);
/* How many times call_gone was asked. */
unsigned long memory_call_asked(const struct call *c);
size_t memory_call_count(const struct call *c);
/* A response, which lives until the next run; it must be of that type. */
const void *memory_call_response(struct call *c, size_t i, const ProtobufCMessageDescriptor *type);

#endif
