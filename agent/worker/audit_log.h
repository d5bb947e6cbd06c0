/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker writes into the audit log, and when: before what it tells of is done or answered.
 * doc/AUDIT.md has the events.
 *
 * Where a record cannot be written, and the configuration says stop-serving, these functions return
 * a negative number with *refuse filled (UNAVAILABLE, AUDIT_UNAVAILABLE): the call is to end with
 * that, and nothing else may be done for it. With drop-and-count they count and return 0. Without
 * an audit log (worker.audit is NULL: tests) they do nothing.
 *
 * Of who has shown no certificate (a failed handshake, an authority's listener) so much is written
 * and the rest counted (audit_budget.h): these functions return as if it were written. So it is
 * with what an identity is denied; then *refuse says RESOURCE_EXHAUSTED instead (DENIALS).
 *
 * Each call has an id of 16 hexadecimal digits, made here: its records have it, and its client
 * (header x-telex-request-id).
 */
#ifndef TX_AGENT_WORKER_AUDIT_LOG_H
#define TX_AGENT_WORKER_AUDIT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/rpc.h"

struct file_request;
struct job_spec;
struct km_exit;
struct peer;
struct worker;

/* Takes fd, the keeper's KM_FILE_AUDIT, and begins this worker's chain. Before the sandbox closes:
 * it may open the syslog's socket. TX_ENOMEM. */
int audit_log_open(struct worker *w, int fd, struct err *e);
/* What was counted, the last record, and its end. The chain's end can still be asked for
 * afterwards. */
void audit_log_close(struct worker *w);

/* ---- connections ---- */

/* One that was refused, and why. False: there were many, and it is only counted. */
bool audit_log_handshake(struct worker *w, const struct peer *peer, const char *why);
/* One that is to be served. Negative: it is not. When there were many of its identity it is
 * counted, and written with the first call that is allowed on it. */
int audit_log_connection(struct worker *w, struct peer *peer, struct err *e);
/* One that is cut off, and why: revoked, abusive. */
void audit_log_cut(struct worker *w, const struct peer *peer, const char *why);

/* ---- calls ---- */

/*
 * The decision at a call's begin; from rpc_server_config.authorize. denied: *refuse has the answer.
 * rule: what decided ("role operator, policy.conf:12"), or NULL. Returns 0 when the call may go on.
 */
int audit_log_call(struct rpc_call *c, const char *service, const struct rpc_method *m, bool denied,
    const char *rule, struct rpc_status *refuse);
/* A call that began well is refused for what its request asks for; *refuse has the answer. Always
 * negative. */
int audit_log_denied(struct rpc_call *c, const char *rule, struct rpc_status *refuse);
/* From rpc_server_config.finished: the end of a stream; or of a call to a method that there is
 * not. */
void audit_log_finished(struct rpc_call *c, const char *path, const struct rpc_status *status);

/* ---- what calls do ---- */

/*
 * What is about to be asked of the keeper: msg is a km_start, km_attach, km_signal, km_remove,
 * km_update, km_resize or km_group, whole but for its hdr; other types are no acts, and no record
 * is written. spec: of a start, else NULL.
 */
int audit_log_act(struct rpc_call *c, uint16_t type, const void *msg, const struct job_spec *spec,
    struct rpc_status *refuse);
/* The client is given an exit. */
int audit_log_exit(
    struct rpc_call *c, const char *id, const struct km_exit *how, struct rpc_status *refuse);
/* What is about to be done with files; and what came of it (summary: "" or NULL for nothing). */
int audit_log_files(struct rpc_call *c, const struct file_request *f, struct rpc_status *refuse);
void audit_log_files_end(struct rpc_call *c, int code, const char *reason, const char *summary);
/* An act of another kind ("certificate", "file", …): `what` is done with `subject`; detail may be
 * NULL. */
int audit_log_other(struct rpc_call *c, const char *event, const char *what, const char *subject,
    const char *detail, struct rpc_status *refuse);

#endif
