/* SPDX-License-Identifier: Apache-2.0 */
/* Finding telexd and starting it. */
#ifndef TX_CLI_DEV_SPAWN_H
#define TX_CLI_DEV_SPAWN_H

#include <sys/types.h>

#include "common/err.h"

/*
 * Where telexd is: beside this program (a build folder), in ../sbin, or where it was configured to
 * be installed. The caller's to free. TX_ENOENT with a sentence.
 */
int dev_spawn_find(char **path, struct err *e);

/*
 * Starts `telexd --config CONFIG` with /dev/null as stdin. log NULL: a child in a process group of
 * its own that gets SIGTERM when this program dies; else in a new session, with stdout and stderr
 * in that file.
 */
int dev_spawn(const char *config, const char *log, pid_t *pid, struct err *e);

#endif
