/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate's next one, and an authority's revocation list, from the authority's own listener:
 * for programs that do nothing else meanwhile (each call blocks, within its time). Not a part of
 * the library's API.
 */
#ifndef TX_LIB_RENEWAL_H
#define TX_LIB_RENEWAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/revocation_file.h"

struct renewal_from {
	const char *address;     /* of the authority's listener, HOST:PORT */
	const char *server_name; /* the name to check instead of the host; NULL: the host */
	const char *ca;          /* PEM: what to trust */
	size_t ca_len;
	int64_t timeout_ms; /* in all; 0: 20 s */
};

struct renewal_pair {
	char *certificate, *key; /* PEM, with a NUL */
	size_t certificate_len, key_len;
	int64_t not_after; /* seconds since the epoch */
};

/*
 * A new key, of the same kind, and its request, for the certificate that comes after this one. Who
 * keeps it (it is secret) and asks with it until there is an answer gets the same certificate by
 * each attempt, so an answer that was lost costs none. tls_text_free(*text, *len) is the caller's.
 */
int renewal_request_make(char **text, size_t *len, const char *certificate, size_t certificate_len,
    const char *key, size_t key_len, struct err *e);

/* Bytes of such a text. */
#define RENEWAL_REQUEST_MAX ((size_t)64 << 10)

/*
 * `certificate` and its `key` (PEM): what there is. The next has the request's key, the same
 * identity and the same hosts; that it is usable with its key and `ca`, on its side of a
 * connection, was checked. renewal_pair_clear is the caller's. request_len 0: one is made, and is
 * lost with the answer. Negative and *over: nothing can come of this request any more; TX_ENOENT:
 * it was of another certificate, or is none, and nobody was asked.
 */
int renewal_get(struct renewal_pair *out, const struct renewal_from *from, const char *certificate,
    size_t certificate_len, const char *key, size_t key_len, const char *request,
    size_t request_len, bool *over, struct err *e);
void renewal_pair_clear(struct renewal_pair *p); /* wipes */

/* *pem is the caller's to free, and list->pem; list->len 0: there is none newer than in `held`, the
 * file that the caller has (len 0: none). Signed by `ca`: that was checked. */
int renewal_get_revocations(char **pem, struct revocation_record *list,
    const struct renewal_from *from, const char *held, size_t held_len, struct err *e);

#endif
