/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/passphrase.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* OpenSSL's prompt goes to the terminal itself, and puts it right again when a signal comes. */
static int ask(const char *name, char *out, size_t size, int min, bool twice, struct err *e)
{
	int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	char prompt[300];

	if (fd < 0)
		return err_set(e, TX_EPERM,
		    "%s needs a passphrase, and there is no terminal to ask on; give it with "
		    "--passphrase-file FILE",
		    name);
	close(fd);
	snprintf(prompt, sizeof(prompt), "Passphrase of %.250s: ", name);
	if (EVP_read_pw_string_min(out, min, (int)size - 1, prompt, twice) != 0)
		return err_set(e, TX_EPERM, "%s needs a passphrase%s", name,
		    twice ? ", twice the same, of 8 characters or more" : "");
	return 0;
}

static int asked(
    const struct key_passphrase *p, const char *name, char *out, size_t size, struct err *e)
{
	(void)p;
	return ask(name, out, size, 0, false, e);
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
		return ask(
		    "the authority's key", out, KEY_PASSPHRASE_SIZE, KEY_PASSPHRASE_MIN, true, e);
	return p.get(&p, file, out, KEY_PASSPHRASE_SIZE, e);
}
