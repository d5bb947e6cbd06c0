/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/sans.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/tls_cert.h"

#define DNS_MAX   253
#define LABEL_MAX 63

size_t sans_address(const char *text, unsigned char out[16])
{
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	return inet_pton(AF_INET6, text, out) == 1 ? 16 : 0;
}

static bool label_valid(const char *label, size_t len)
{
	if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = label[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return false;
	}
	return true;
}

static bool all_digits(const char *label, size_t len)
{
	return len > 0 && strspn(label, "0123456789") >= len;
}

static bool dns_valid(const char *text)
{
	if (strlen(text) > DNS_MAX)
		return false;
	/* "*." needs two labels after it: "*.com" is nobody's to give. */
	if (strncmp(text, "*.", 2) == 0) {
		text += 2;
		if (strchr(text, '.') == NULL)
			return false;
	}
	for (;;) {
		size_t len = strcspn(text, ".");

		if (!label_valid(text, len))
			return false;
		if (text[len] == '\0')
			/* "10.0.0.256" is a mistyped address. */
			return !all_digits(text, len);
		text += len + 1;
	}
}

bool sans_valid(const char *text)
{
	unsigned char address[16];

	return sans_address(text, address) > 0 || dns_valid(text);
}

/* NULL: out of memory. `text` is valid. */
static char *one_form(const char *text)
{
	unsigned char address[16];
	size_t len = sans_address(text, address);
	char shown[INET6_ADDRSTRLEN];
	char *out;

	if (len > 0) {
		if (inet_ntop(len == 4 ? AF_INET : AF_INET6, address, shown, sizeof(shown)) == NULL)
			return NULL;
		return strdup(shown);
	}
	out = strdup(text);
	for (size_t i = 0; out != NULL && out[i] != '\0'; i++)
		out[i] = (char)tolower((unsigned char)out[i]);
	return out;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Drops what is there twice of a sorted list; returns how many are left. */
static size_t unique(char **sans, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (kept > 0 && strcmp(sans[kept - 1], sans[i]) == 0)
			free(sans[i]);
		else
			sans[kept++] = sans[i];
	}
	return kept;
}

int sans_set(char ***out, size_t *out_n, const char *const *texts, size_t n, struct err *e)
{
	char shown[80];
	char **sans;

	if (n > SANS_MAX)
		return err_set(e, TX_EINVAL, "a certificate names at most %d hosts", SANS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!sans_valid(texts[i])) {
			tls_printable(shown, sizeof(shown), texts[i], strlen(texts[i]));
			return err_set(
			    e, TX_EINVAL, "\"%s\" is neither a DNS name nor an IP address", shown);
		}
	}
	sans = calloc(n + 1, sizeof(*sans));
	if (sans == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		sans[i] = one_form(texts[i]);
		if (sans[i] == NULL) {
			sans_free(sans, i);
			return err_set(e, TX_ENOMEM, "out of memory");
		}
	}
	qsort(sans, n, sizeof(*sans), compare);
	*out = sans;
	*out_n = unique(sans, n);
	return 0;
}

bool sans_same(const char *const *a, size_t a_n, const char *const *b, size_t b_n)
{
	if (a_n != b_n)
		return false;
	for (size_t i = 0; i < a_n; i++) {
		if (strcmp(a[i], b[i]) != 0)
			return false;
	}
	return true;
}

void sans_free(char **sans, size_t n)
{
	for (size_t i = 0; sans != NULL && i < n; i++)
		free(sans[i]);
	free(sans);
}
