/* SPDX-License-Identifier: Apache-2.0 */
/* The list of services: what the server serves, health answers for and reflection names. */
#include "agent/worker/services.h"

const struct rpc_service *const services_all[SERVICES_COUNT] = {
    &svc_process,
    &svc_file,
    &svc_watch,
    &svc_system,
    &svc_revocations,
    &svc_health,
    &svc_reflection_v1,
    &svc_reflection_v1alpha,
};
