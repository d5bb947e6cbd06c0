/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of ssh's connection multiplexing (OpenSSH, PROTOCOL.mux) inside the measuring process,
 * so that a warm ssh is timed without the start of an ssh program for each command.
 */
#ifndef TX_BENCH_SSH_MUX_H
#define TX_BENCH_SSH_MUX_H

/* Runs `command` in a new session of the master at `path`, stdio on fd's 0..2 replacement
 * `null_fd`. Its exit code, or -1. */
int ssh_mux_run(const char *path, const char *command, int null_fd);

#endif
