/* SPDX-License-Identifier: Apache-2.0 */
/* The services of a worker, as rows for rpc's tables: each is in the svc_ file of its name. Calls
 * find a struct worker in their context and a struct peer at their other end. */
#ifndef TX_AGENT_WORKER_SERVICES_H
#define TX_AGENT_WORKER_SERVICES_H

#include "common/rpc.h"

struct worker;

/* Of an authority's own listeners, and not among all. */
extern const struct rpc_service svc_certificate;

extern const struct rpc_service svc_file;
extern const struct rpc_service svc_health;
extern const struct rpc_service svc_process;
extern const struct rpc_service svc_reflection_v1;
extern const struct rpc_service svc_reflection_v1alpha;
extern const struct rpc_service svc_revocations;
extern const struct rpc_service svc_system;
extern const struct rpc_service svc_watch;

/* All of them. */
#define SERVICES_COUNT 8
extern const struct rpc_service *const services_all[SERVICES_COUNT];

/* Remembers what GetInfo tells of the machine; before the sandbox is closed. */
void svc_system_look(struct worker *w);
/* The worker is draining: whoever watches its health is told, and let go. */
void svc_health_draining(struct worker *w);
/* Frees what reflection made at its first use. */
void svc_reflection_cleanup(void);

#endif
