/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of its socket to telex-ca: questions and their answers. The keeper gives a new
 * socket when telex-ca was started anew; what was asked on the one before is told that there is no
 * answer.
 */
#ifndef TX_AGENT_WORKER_CA_CLIENT_H
#define TX_AGENT_WORKER_CA_CLIENT_H

#include "common/err.h"
#include "telex/internal/v1/ca.pb-c.h"

struct ca_call;
struct ca_client;
struct event_base;

#define CA_CLIENT_CALLS  256u /* at once */
#define CA_CLIENT_WAIT_S 20   /* for an answer */

struct ca_client *ca_client_new(struct event_base *base);
/* Calls under way are forgotten. NULL is allowed. */
void ca_client_free(struct ca_client *c);
/* Takes fd. */
void ca_client_take(struct ca_client *c, int fd);

/* answer NULL: there will be none (it is gone, or too slow). list_fd: the revocation list, for the
 * time of the call, or -1. Not from inside ca_client_ask. */
typedef void ca_answer(const Telex__Internal__V1__CaAnswer *answer, int list_fd, void *arg);

/* Sends it, with an id of its own. *out is valid until the answer or ca_call_forget. TX_ECLOSED: it
 * is not there. TX_ELIMIT: too many wait; TX_ETOOBIG. */
int ca_client_ask(struct ca_client *c, Telex__Internal__V1__CaRequest *request, ca_answer *answer,
    void *arg, struct ca_call **out);
/* The answer is not wanted any more. NULL is allowed. */
void ca_call_forget(struct ca_call *call);

#endif
