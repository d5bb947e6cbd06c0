/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: the policy (policy.h) below the agent's ceiling (ceiling.h), asked for each
 * call, and again for what its request asks for. Everything that is not allowed here is denied.
 * Nothing is answered and nothing is asked of the keeper before.
 *
 * Refused is with PERMISSION_DENIED (NOT_ALLOWED; metadata identity, method, rule) or, for more
 * calls than an identity may make, RESOURCE_EXHAUSTED (RATE, with retry_after in seconds, or
 * CALLS).
 */
#ifndef TX_AGENT_WORKER_AUTHZ_H
#define TX_AGENT_WORKER_AUTHZ_H

#include <stdint.h>

#include "common/err.h"
#include "common/policy.h"
#include "common/rpc.h"
#include "common/rpc_status.h"

struct authz;
struct file_request;
struct job_spec;
struct km_start;

/* From the keeper's KM_FILE_POLICY and KM_FILE_CEILING, which stay the caller's; -1: there is none
 * (no policy is an error, no ceiling forbids nothing). What is wrong is logged; the first problem
 * is in *e, too. policy_name: what problems call the file. */
int authz_new(
    struct authz **out, const char *policy_name, int policy_fd, int ceiling_fd, struct err *e);
/* Takes the policy; there is no ceiling. For tests. */
struct authz *authz_new_policy(struct policy *p);
void authz_free(struct authz *a);

/* Whether `identity` may call service/method, and now. 0: authz_ended is to follow at its end. a
 * NULL: nobody may. rule: what decided, "" for nothing. */
int authz_call(struct authz *a, const char *identity, const char *service, const char *method,
    char rule[POLICY_RULE_SIZE], struct rpc_status *refuse);
void authz_ended(struct authz *a, const char *identity);

/*
 * The request of a call that starts a process. Changes the spec as the policy says (a forced
 * command; limits where it asks for none or for fewer) and sets m->max_running.
 */
int authz_start(
    struct rpc_call *c, struct job_spec *spec, struct km_start *m, struct rpc_status *refuse);
/*
 * The request of a call about a process or group that is there. Fill what is POLICY_PROCESS's in *r
 * but for `any`. *any (NULL: it can only be its own): 1 when it may be another identity's, else 0:
 * the keeper answers for those as for one that does not exist.
 */
int authz_process(
    struct rpc_call *c, struct policy_request *r, uint8_t *any, struct rpc_status *refuse);
/*
 * The request of a call about files. user: "" for the agent's own. authz_files_user: whether the
 * call may come to anything as that user; before its paths are known. authz_files: all of it, by
 * one role: its number among authz_file_roles'.
 */
int authz_files_user(struct rpc_call *c, const char *user, struct rpc_status *refuse);
int authz_files(
    struct rpc_call *c, const struct file_request *f, uint32_t *role, struct rpc_status *refuse);
/* Whether it would be allowed; without a record, and without an answer. */
bool authz_files_may(struct rpc_call *c, const struct file_request *f);
/* The caller's identity's roles that allow that user. *out is the caller's to free. How many. */
size_t authz_file_roles(struct rpc_call *c, const char *user, struct policy_file_role **out);
/* Whether the ceiling lets anything be done with files. */
/* What the ceiling bounds, in a few words; false: nothing. */
bool authz_ceiling(const struct authz *a, char *out, size_t size);
bool authz_has_files(const struct authz *a);

/* The same for a call that is nothing more than its method. */
uint8_t authz_any(struct rpc_call *c);

#endif
