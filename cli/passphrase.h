/* SPDX-License-Identifier: Apache-2.0 */
/* Passphrases of keys: from a file, or asked on the terminal without an echo. */
#ifndef TX_CLI_PASSPHRASE_H
#define TX_CLI_PASSPHRASE_H

#include "certs/key.h"
#include "common/err.h"

/* For who loads a key: from `file`, NULL: asked. */
void passphrase_source(struct key_passphrase *out, const char *file);
/* A new one, from `file`, NULL: asked twice. */
int passphrase_new(const char *file, char out[KEY_PASSPHRASE_SIZE], struct err *e);

#endif
