/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers of one generation are made from and are given: the program, whose user, the
 * environment, one configuration with the files that it names, and its listening sockets.
 */
#ifndef TX_KEEPER_WORKER_KIT_H
#define TX_KEEPER_WORKER_KIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "agent/keeper/listener.h"
#include "common/err.h"

struct km_chan;
struct worker_kit;

/* `path`: the worker's executable, opened now, and c's files are copied now (kit_files.h): workers
 * that are started later get the same. Takes references of c and ls. start_ns: when the
 * keeper began, and can: enum km_can, ored; for the workers to tell. */
int worker_kit_new(struct worker_kit **out, const char *path, struct config *c,
    struct listeners *ls, int64_t start_ns, uint32_t can, struct err *e);
/* The same as `of`, but for the certificate and the key, which are copied from their files now. */
int worker_kit_renewed(struct worker_kit **out, const struct worker_kit *of, struct err *e);
void worker_kit_free(struct worker_kit *kit);
/* Copies the files anew: only while nobody has come to serve by it. Negative: it has what it had.
 */
int worker_kit_reread(struct worker_kit *kit, struct err *e);

const struct config *worker_kit_config(const struct worker_kit *kit);
int worker_kit_certificate(const struct worker_kit *kit); /* its descriptor */
struct listeners *worker_kit_listeners(const struct worker_kit *kit);

/* Starts a worker's process with `fd` as its end of the link (it stays the caller's). */
int worker_kit_spawn(const struct worker_kit *kit, int fd, pid_t *pid, struct err *e);
/* What one worker alone is given. */
struct worker_own {
	uint32_t index;
	uint64_t audit_writer;
	uint8_t audit_begun[KM_HASH_SIZE]; /* as of km_config */
	int audit_fd;                      /* stays the caller's */
};

/* Sends KM_CONFIG, KM_FILE, KM_LISTEN and KM_GO. */
int worker_kit_send(const struct worker_kit *kit, struct km_chan *chan,
    const struct worker_own *own, struct err *e);

/* For other programs of the agent's that run as its workers do. The user; *change false: our own.
 * The environment: what a worker may see of ours, and `extra` (or NULL); NULL: no memory. */
int worker_kit_user(const struct config *c, bool *change, uid_t *uid, gid_t *gid, struct err *e);
char **worker_kit_environment(const char *extra);

#endif
