/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the service manager, where one asked for it (NOTIFY_SOCKET). */
#ifndef TX_KEEPER_NOTIFY_H
#define TX_KEEPER_NOTIFY_H

/* "READY=1", "STOPPING=1". Never fails: a manager that does not listen is logged, no more. */
void notify_send(const char *state);

#endif
