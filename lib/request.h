/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the requests of all calls are made of. protobuf-c's structs have no const; packing does not
 * write, so these lend the caller's strings to a message.
 */
#ifndef TX_LIB_REQUEST_H
#define TX_LIB_REQUEST_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"
#include "telex/v1/process.pb-c.h"

#define REQUEST_ID_SIZE      65 /* of a process id or a group's name, with its NUL */
#define REQUEST_GRACE_MAX_MS INT64_C(3600000)
#define REQUEST_WAIT_MAX_MS  (INT64_C(30) * 86400000)
#define REQUEST_TERMINAL_MAX 10000 /* rows, columns */
#define REQUEST_INPUT_MAX    ((size_t)1 << 20)

ProtobufCBinaryData request_bytes(const void *data, size_t len);
char *request_text(const char *s);
/* A negative time is sent as 0: at once. Returns out. */
Google__Protobuf__Duration *request_duration(Google__Protobuf__Duration *out, int64_t ms);

/* `what` names it in the error: "process id". NULL is refused. 0, or -1 and *error. */
int request_check_id(const char *what, const char *id, struct telex_error *error);
/* 0: not given; negative is refused, and more than 64. */
int request_check_signal(const char *what, int signo, struct telex_error *error);
/* The options of a signal to one process, or to a group. */
int request_check_sending(const struct telex_signal_options *o, struct telex_error *error);
/* The control group's numbers of a command or an update. */
int request_check_control(uint64_t memory_bytes, uint32_t cpu_millis, struct telex_error *error);
int request_check_nice(int nice, struct telex_error *error);

/* Limits as messages; n 0: none. The caller frees both, also after a failure. 0, or -1 and *error.
 */
struct request_limits {
	size_t n;
	Telex__V1__ResourceLimit *messages, **list;
};
int request_limits(struct request_limits *out, const struct telex_limit *limits, size_t n,
    struct telex_error *error);
void request_limits_free(struct request_limits *l);

/* len random bytes, at most 256. 0, or -1 and *error. */
int request_random(void *out, size_t len, struct telex_error *error);

#endif
