/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's second door: the listeners of an authority, where no client certificate is asked for
 * and CertificateService is all there is. Small messages, few streams, short connections.
 */
#ifndef TX_AGENT_WORKER_ENROLL_DOOR_H
#define TX_AGENT_WORKER_ENROLL_DOOR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct enroll_door;
struct tls_material;
struct worker;

/* `ended`: after each connection's end. */
struct enroll_door *enroll_door_new(struct worker *w, void (*ended)(void *arg), void *arg);
/* After enroll_door_stop, when no connection is left. NULL is allowed. */
void enroll_door_free(struct enroll_door *d);

/* Takes fd. Before enroll_door_open. */
void enroll_door_listen(struct enroll_door *d, int fd, const char *address);
/* Serves, when there is a listener at all. */
int enroll_door_open(struct enroll_door *d, const struct tls_material *m, struct err *e);
size_t enroll_door_count(const struct enroll_door *d);
/* No new connections; those that are there are told to go. */
void enroll_door_drain(struct enroll_door *d);
/* Ends all of them. */
void enroll_door_close(struct enroll_door *d);

#endif
