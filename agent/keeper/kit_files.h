/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a generation of workers reads: policy, certificate, key and authorities, as they were when
 * it was decided that they are in force. They are copies in memory, sealed, so that a worker that
 * is started later gets what the others have, whatever was written into the files since.
 */
#ifndef TX_KEEPER_KIT_FILES_H
#define TX_KEEPER_KIT_FILES_H

#include "agent/keeper/config.h"
#include "common/err.h"

struct kit_files {
	int certificate, key, ca; /* sealed memfds, close-on-exec; the key's is of mode 0400 */
	int policy;               /* the same; -1: there is none */
};

#define KIT_FILES_NONE                                                                             \
	(struct kit_files)                                                                         \
	{                                                                                          \
		-1, -1, -1, -1                                                                     \
	}

/* From the files that the configuration names. TX_EPERM: others may read the key; TX_EINVAL,
 * TX_ESYS and TX_ETOOBIG name the file, too. Nothing is open then. */
int kit_files_read(struct kit_files *f, const struct config *c, struct err *e);
/* The certificate and the key alone anew, the others as in `old`. */
int kit_files_renew(
    struct kit_files *f, const struct kit_files *old, const struct config *c, struct err *e);
void kit_files_close(struct kit_files *f);

/* TX_EPERM, with what to type, when others may read or write the key that is open as `fd`. */
int kit_files_check_key(int fd, const char *path, struct err *e);

#endif
