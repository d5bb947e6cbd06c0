/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what we need from an X.509 certificate. Every byte in one may be hostile: only printable
 * ASCII gets out. */
#include <arpa/inet.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "common/tls_cert.h"

void tls_printable(char *out, size_t size, const void *in, size_t len)
{
	const unsigned char *bytes = in;
	size_t n = len < size - 1 ? len : size - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? (char)bytes[i] : '?';
	out[n] = '\0';
}

int64_t tls_time_epoch(const ASN1_TIME *t)
{
	struct tm tm;

	if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

const char *tls_time_text(char out[TLS_TIME_SIZE], int64_t epoch)
{
	time_t when = (time_t)epoch;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(out, TLS_TIME_SIZE, "%F %T UTC", &tm) == 0)
		snprintf(out, TLS_TIME_SIZE, "an unknown time");
	return out;
}

void tls_name_text(const X509_NAME *name, char *out, size_t size)
{
	char text[256] = "";
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);

	if (at >= 0) {
		const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));

		tls_printable(out, size, ASN1_STRING_get0_data(cn), (size_t)ASN1_STRING_length(cn));
		return;
	}
	X509_NAME_oneline(name, text, (int)sizeof(text));
	tls_printable(out, size, text, strlen(text));
}

/* How many URI names there are; *only is the first. -1: the extension is there and cannot be read.
 */
static int count_uris(const GENERAL_NAMES *names, const ASN1_IA5STRING **only)
{
	int count = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_URI)
			continue;
		if (count++ == 0)
			*only = name->d.uniformResourceIdentifier;
	}
	return count;
}

static GENERAL_NAMES *alternative_names(X509 *x, bool *broken)
{
	int critical;
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);

	/* -1: not there; -2: there twice; otherwise it is there and does not parse. */
	*broken = names == NULL && critical != -1;
	return names;
}

int tls_cert_identity(X509 *x, struct identity *out, const char *subject, struct err *e)
{
	bool broken;
	GENERAL_NAMES *names = alternative_names(x, &broken);
	const ASN1_IA5STRING *uri = NULL;
	int count = names == NULL ? 0 : count_uris(names, &uri);
	struct err why;
	char text[IDENTITY_SIZE];
	int rc = TX_ECERT;

	if (broken)
		err_set(e, rc, "%s has alternative names that cannot be read", subject);
	else if (count == 0)
		err_set(e, rc,
		    "%s has no identity (no URI name spiffe://DOMAIN/agent/NAME or "
		    "spiffe://DOMAIN/user/NAME)",
		    subject);
	else if (count > 1)
		err_set(e, rc, "%s has %d URI names; an identity is exactly one", subject, count);
	else if (identity_parse(out, (const char *)ASN1_STRING_get0_data(uri),
	             (size_t)ASN1_STRING_length(uri), &why) != 0) {
		tls_printable(text, sizeof(text), ASN1_STRING_get0_data(uri),
		    (size_t)ASN1_STRING_length(uri));
		err_set(e, rc, "the URI name \"%s\" of %s is not an identity: %s", text, subject,
		    why.message);
	} else
		rc = 0;
	GENERAL_NAMES_free(names);
	return rc;
}

static int refuse(int *x509_error, int as)
{
	if (x509_error != NULL)
		*x509_error = as;
	return TX_ECERT;
}

int tls_cert_check_leaf(X509 *x, bool of_server, struct identity *out, const char *subject,
    int *x509_error, struct err *e)
{
	uint32_t need = of_server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
	uint32_t use = X509_get_extended_key_usage(x);

	if ((X509_get_extension_flags(x) & EXFLAG_CA) != 0) {
		err_set(e, TX_ECERT, "%s is an authority's (CA:TRUE) and may not be used by a %s",
		    subject, of_server ? "server" : "client");
		return refuse(x509_error, X509_V_ERR_INVALID_PURPOSE);
	}
	if (use == UINT32_MAX || (use & need) == 0) {
		err_set(e, TX_ECERT, "%s is not for a %s (extended key usage %s is missing)",
		    subject, of_server ? "server" : "client",
		    of_server ? "serverAuth" : "clientAuth");
		return refuse(x509_error, X509_V_ERR_INVALID_PURPOSE);
	}
	/* Not in OpenSSL's table of alerts, so the peer is told certificate_unknown. */
	if (tls_cert_identity(x, out, subject, e) != 0)
		return refuse(x509_error, X509_V_ERR_INVALID_EXTENSION);
	if (of_server && out->kind != IDENTITY_AGENT) {
		err_set(e, TX_ECERT, "%s is a %s's (%s), not an agent's", subject,
		    identity_kind_name(out->kind), out->name);
		return refuse(x509_error, X509_V_ERR_INVALID_EXTENSION);
	}
	return 0;
}

void tls_cert_serial(const X509 *x, char *out, size_t size)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
	size_t len = (size_t)ASN1_STRING_length(serial);
	const unsigned char *bytes = ASN1_STRING_get0_data(serial);

	out[0] = '\0';
	while (len > 1 && bytes[0] == 0) {
		bytes++;
		len--;
	}
	if (ASN1_STRING_type(serial) != V_ASN1_INTEGER || len == 0 || 2 * len >= size)
		return;
	for (size_t i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02X", bytes[i]);
}

bool tls_host_text(const GENERAL_NAME *name, char *out, size_t size)
{
	const ASN1_STRING *s;

	if (name->type == GEN_DNS) {
		s = name->d.dNSName;
		tls_printable(out, size, ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
		return true;
	}
	if (name->type != GEN_IPADD)
		return false;
	s = name->d.iPAddress;
	if (ASN1_STRING_length(s) == 4)
		return inet_ntop(AF_INET, ASN1_STRING_get0_data(s), out, (socklen_t)size) != NULL;
	if (ASN1_STRING_length(s) == 16)
		return inet_ntop(AF_INET6, ASN1_STRING_get0_data(s), out, (socklen_t)size) != NULL;
	return false;
}

void tls_cert_hosts(X509 *x, char *out, size_t size)
{
	bool broken;
	GENERAL_NAMES *names = alternative_names(x, &broken);
	char text[128];
	size_t used = 0;
	int more = 0;

	out[0] = '\0';
	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		if (!tls_host_text(sk_GENERAL_NAME_value(names, i), text, sizeof(text)))
			continue;
		/* Room is kept for ", and N more". */
		if (more > 0 || used + strlen(text) + 32 > size) {
			more++;
			continue;
		}
		used +=
		    (size_t)snprintf(out + used, size - used, "%s%s", used == 0 ? "" : ", ", text);
	}
	if (more > 0)
		snprintf(out + used, size - used, " and %d more", more);
	GENERAL_NAMES_free(names);
}

void tls_cert_label(X509 *x, char *out, size_t size)
{
	struct identity id;
	char text[IDENTITY_SIZE];

	if (tls_cert_identity(x, &id, "", NULL) == 0) {
		snprintf(out, size, "%s", identity_format(text, &id));
		return;
	}
	tls_name_text(X509_get_subject_name(x), text, sizeof(text) - 2);
	snprintf(out, size, "\"%s\"", text);
}
