/* SPDX-License-Identifier: Apache-2.0 */
/* The connections of a worker: each from its accept through TLS to its HTTP/2 calls and its end. */
#ifndef TX_AGENT_WORKER_SESSION_H
#define TX_AGENT_WORKER_SESSION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct rpc_server;
struct peer;
struct sessions;
struct tls_ctx;
struct worker;

/* From accept to the end of the handshake, at most. */
/* From accept to the first call's headers, where the configuration does not say. */
#define SESSION_FIRST_CALL_S 10

/* `ended` is called after each session's end, when it counts no more. All but the struct itself
 * stays the caller's. */
struct sessions *sessions_new(struct worker *w, struct tls_ctx *tls, struct rpc_server *rpc,
    void (*ended)(void *arg), void *arg);
/* For connections that come after it: calls at once, and for how long a connection may stay (0: as
 * long as it likes). */
void sessions_set_limits(
    struct sessions *ss, uint32_t max_streams, int life_s, uint32_t max_per_source);
/* A call of the peer's was accepted: by those that are refused nobody stays. */
void session_called(struct peer *peer);
/* When none is left (asserted). NULL is allowed. */
void sessions_free(struct sessions *ss);

/* Takes fd. */
void sessions_accept(struct sessions *ss, int fd, const struct sockaddr *from, socklen_t len);
size_t sessions_count(const struct sessions *ss);
/* GOAWAY on all, those that are still in their handshake included when they come to it; calls go
 * on. */
void sessions_drain(struct sessions *ss);
/* Ends at once those whose certificate is revoked by now, calls too. How many. Not from a callback
 * of a connection. */
size_t sessions_cut_revoked(struct sessions *ss);
/* Ends all of them, calls too; `ended` follows for each, within about a second. */
void sessions_close(struct sessions *ss);

#endif
