/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret that is typed on a terminal. What is typed is never shown: echo is off before the prompt
 * appears, and what was typed before that is thrown away. The terminal is as it was on every way
 * out but SIGKILL and a crash; Ctrl-Z gives it back while we are stopped, and we ask once more.
 */
#ifndef TX_CLI_SECRET_H
#define TX_CLI_SECRET_H

#include <stddef.h>

#include "common/err.h"

/*
 * One line without its end into out[0..size), with a NUL. again: NULL, or the prompt for the same
 * once more. Signals that end this program end it here, too, unless somebody handles them:
 * TX_ECLOSED then, as when the terminal has no more to say. TX_EINVAL: the two differ, or it is too
 * long; TX_ESYS: tty is no terminal. On failure out is wiped. Messages name no key: the caller puts
 * that in front. Not for threads: it has signal handlers meanwhile.
 */
int secret_ask(
    int tty, const char *prompt, const char *again, char *out, size_t size, struct err *e);

#endif
