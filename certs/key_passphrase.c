/* SPDX-License-Identifier: Apache-2.0 */
/* Where passphrases come from that nobody is asked for. */
#include <string.h>

#include "certs/certfile.h"
#include "certs/key.h"
#include "common/tls.h"

static int take(
    const char *text, size_t len, const char *where, char *out, size_t size, struct err *e)
{
	if (len == 0)
		return err_set(e, TX_EINVAL, "%s has no passphrase in its first line", where);
	if (len >= size || memchr(text, '\0', len) != NULL)
		return err_set(
		    e, TX_EINVAL, "%s has no passphrase that can be used in its first line", where);
	memcpy(out, text, len);
	out[len] = '\0';
	return 0;
}

int key_passphrase_file(
    const struct key_passphrase *p, const char *name, char *out, size_t size, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = certfile_read_key(p->arg, &text, &len, e);

	(void)name;
	if (rc == 0)
		rc = take(text, strcspn(text, "\r\n"), p->arg, out, size, e);
	tls_text_free(text, len);
	return rc;
}

int key_passphrase_fd(int fd, const char *name, char *out, size_t size, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = certfile_read_key_fd(fd, name, &text, &len, e);

	if (rc == 0)
		rc = take(text, strcspn(text, "\r\n"), name, out, size, e);
	tls_text_free(text, len);
	return rc;
}

int key_passphrase_text(
    const struct key_passphrase *p, const char *name, char *out, size_t size, struct err *e)
{
	(void)name;
	return take(p->arg, strlen(p->arg), "what was given", out, size, e);
}
