/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/passphrase.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/secret.h"

static int ask(const char *name, bool twice, char *out, size_t size, struct err *e)
{
	int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	char prompt[300], again[300];
	int rc;

	if (tty < 0)
		return err_set(e, TX_EPERM,
		    "%s needs a passphrase, and there is no terminal to ask on; give it with "
		    "--passphrase-file FILE",
		    name);
	snprintf(prompt, sizeof(prompt), "Passphrase of %.250s: ", name);
	snprintf(again, sizeof(again), "Passphrase of %.250s, once more: ", name);
	rc = secret_ask(tty, prompt, twice ? again : NULL, out, size, e);
	close(tty);
	if (rc != 0)
		err_wrap(e, "%s needs a passphrase", name);
	return rc;
}

static int asked(
    const struct key_passphrase *p, const char *name, char *out, size_t size, struct err *e)
{
	(void)p;
	return ask(name, false, out, size, e);
}

void passphrase_source(struct key_passphrase *out, const char *file)
{
	out->get = file == NULL ? asked : key_passphrase_file;
	out->arg = file;
}

int passphrase_new(const char *file, char out[KEY_PASSPHRASE_SIZE], struct err *e)
{
	struct key_passphrase p = {.get = key_passphrase_file, .arg = file};

	if (file == NULL)
		return ask("the authority's key", true, out, KEY_PASSPHRASE_SIZE, e);
	return p.get(&p, file, out, KEY_PASSPHRASE_SIZE, e);
}
