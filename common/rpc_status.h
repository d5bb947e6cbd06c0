/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a call ended: the canonical gRPC code, a sentence a person can act on, and
 * google.rpc.ErrorInfo for a program. Plain data with bounded strings: filling one cannot fail.
 */
#ifndef TX_COMMON_RPC_STATUS_H
#define TX_COMMON_RPC_STATUS_H

#include <stddef.h>
#include <stdint.h>

#define RPC_STATUS_META_MAX 10

/* The canonical codes, numbers as in the gRPC documentation. */
enum rpc_code {
	RPC_OK = 0,
	RPC_CANCELLED = 1,
	RPC_UNKNOWN = 2,
	RPC_INVALID_ARGUMENT = 3,
	RPC_DEADLINE_EXCEEDED = 4,
	RPC_NOT_FOUND = 5,
	RPC_ALREADY_EXISTS = 6,
	RPC_PERMISSION_DENIED = 7,
	RPC_RESOURCE_EXHAUSTED = 8,
	RPC_FAILED_PRECONDITION = 9,
	RPC_ABORTED = 10,
	RPC_OUT_OF_RANGE = 11,
	RPC_UNIMPLEMENTED = 12,
	RPC_INTERNAL = 13,
	RPC_UNAVAILABLE = 14,
	RPC_DATA_LOSS = 15,
	RPC_UNAUTHENTICATED = 16,
};

struct rpc_status {
	int code; /* enum rpc_code; anything else received becomes RPC_UNKNOWN */
	char message[512];
	char reason[64]; /* ErrorInfo.reason; "": no details */
	char domain[64];
	size_t n_meta;
	struct {
		char key[32];
		char value[256];
	} meta[RPC_STATUS_META_MAX];
};

/* Fills *s with no metadata and domain "telex". reason may be NULL. Returns code. */
int rpc_status_set(struct rpc_status *s, int code, const char *reason, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds to the sentence; what does not fit is cut. */
void rpc_status_add(struct rpc_status *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Adds a metadata pair; what does not fit is cut, one more than RPC_STATUS_META_MAX is dropped. */
void rpc_status_meta(struct rpc_status *s, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The value of a key, or NULL. */
const char *rpc_status_get(const struct rpc_status *s, const char *key);

/* "NOT_FOUND"; "UNKNOWN" for what is none. */
const char *rpc_code_name(int code);
/* The one table from errno to code. */
int rpc_code_from_errno(int sys_errno);

/* google.rpc.Status with one ErrorInfo, serialized; *out is the caller's to free. 0 or TX_ENOMEM.
 */
int rpc_status_pack(const struct rpc_status *s, uint8_t **out, size_t *len);
/* Takes reason, domain and metadata from a serialized google.rpc.Status; what is unreadable is left
 * out. */
void rpc_status_unpack_details(struct rpc_status *s, const uint8_t *data, size_t len);

#endif
