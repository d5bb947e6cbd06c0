/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's socket: one request a packet, answered one after the other. A worker that breaks the
 * contract (no message, too long) is cut off; one that does not read its answers is not read from.
 */
#ifndef TX_AGENT_CA_CLIENT_H
#define TX_AGENT_CA_CLIENT_H

struct authority;
struct clients;
struct event_base;

struct clients *clients_new(struct event_base *base, struct authority *au);
/* Closes all. NULL is allowed. */
void clients_free(struct clients *cs);
/* Takes fd. */
void clients_add(struct clients *cs, int fd);

#endif
