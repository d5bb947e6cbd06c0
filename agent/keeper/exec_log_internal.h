/* SPDX-License-Identifier: Apache-2.0 */
/* What exec_log.c and exec_record.c share; nobody else includes it. */
#ifndef TX_KEEPER_EXEC_LOG_INTERNAL_H
#define TX_KEEPER_EXEC_LOG_INTERNAL_H

#include <stdint.h>

#include "common/audit.h"

#define EXEC_PATH_MAX 4096

struct exec_paths {
	char audit[EXEC_PATH_MAX], exec[EXEC_PATH_MAX + 16], head[EXEC_PATH_MAX + 24];
};

struct exec_log {
	struct exec_paths paths;
	struct audit *own;
	uint64_t writer; /* of `own` */
	int own_fd;      /* of `own`, which closes it */
	int audit_fd;    /* the workers' */
	uint64_t last_id;
};

/* exec_record.c: how far a chain is that was found in the workers' log, without its end. */
void exec_log_found(struct exec_log *x, const struct audit_open *chain);

#endif
