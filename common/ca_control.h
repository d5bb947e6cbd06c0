/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the keeper and telex-ca: fixed structs over a SOCK_SEQPACKET pair, whose other end
 * telex-ca finds as CA_CONTROL_FD. Its working folder is the CA's.
 *
 *     keeper -> ca: CA_SETUP once, first (fd: the file with the passphrase, or none); CA_CLIENT for
 *                   each worker (fd: one end of its socket to it)
 *     ca -> keeper: CA_READY, or CA_FAILED with a text, and it exits
 *
 * The end of the link is the end of telex-ca.
 */
#ifndef TX_COMMON_CA_CONTROL_H
#define TX_COMMON_CA_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define CA_CONTROL_VERSION 2
#define CA_CONTROL_FD      3
#define CA_TEXT_SIZE       256

/* Of a packet between a worker and telex-ca (proto/telex/internal/v1/ca.proto). */
#define CA_PACKET_MAX ((size_t)128 << 10)

enum ca_control_type { CA_SETUP = 1, CA_CLIENT = 2, CA_READY = 3, CA_FAILED = 4 };

struct ca_control {
	uint32_t version; /* ca_control_send's */
	uint32_t type;    /* enum ca_control_type */
	uint8_t log_level, log_json;
	uint8_t audit_fsync, audit_syslog, audit_drop;
	uint8_t pad[3];
	/* audit_budget.h; of refusals. 0: its defaults. */
	uint32_t audit_per_source, audit_total;
	int64_t audit_interval_ns;
	char text[CA_TEXT_SIZE];
};

/* fd -1: none goes with it. Never waits. TX_EAGAIN, TX_ECLOSED, TX_ESYS. */
int ca_control_send(int link, struct ca_control *m, int fd);
/* *fd is the caller's; -1: none came. Never waits. TX_EAGAIN, TX_ECLOSED (the other end is gone),
 * TX_EPROTO (what came is no such message), TX_ESYS. */
int ca_control_receive(int link, struct ca_control *m, int *fd);

/* One packet with at most one descriptor, for both links. *len: in, the room; out, what came. */
int ca_packet_send(int link, const void *data, size_t len, int fd);
int ca_packet_receive(int link, void *data, size_t *len, int *fd);

#endif
