/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/policy_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certs/certshow.h"
#include "cli/paths.h"
#include "common/policy.h"
#include "common/tls.h"

int policy_file_identity(const char *certificate, char out[IDENTITY_SIZE], struct err *e)
{
	struct certshow *shown = NULL;
	char *text = NULL;
	size_t count = 0, len = 0;
	int r = tls_read_file(certificate, &text, &len, e);

	if (r == 0)
		r = certshow_read(&shown, &count, text, len, certificate, e);
	tls_text_free(text, len);
	if (r == 0 && (shown[0].identity[0] == '\0' || shown[0].flaw[0] != '\0'))
		r = err_set(e, TX_ECERT, "%s: %s", certificate,
		    shown[0].flaw[0] != '\0' ? shown[0].flaw : "it names no identity");
	if (r == 0)
		snprintf(out, IDENTITY_SIZE, "%s", shown[0].identity);
	certshow_free(shown, count);
	return r;
}

int policy_file_write(const char *path, const char *identity, bool force, struct err *e)
{
	char *text;
	int r;

	if (!force && access(path, F_OK) == 0)
		return err_set(e, TX_EEXIST, "%s is there already; --force writes over it", path);
	text = policy_example(identity);
	if (text == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	r = paths_write(path, text, strlen(text), e);
	free(text);
	return r;
}
