/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/certshow.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/key.h"
#include "certs/pem.h"
#include "common/tls_cert.h"

#define CERTIFICATES_MAX 256

static void fill_fingerprint(struct certshow *s, const X509 *x)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (X509_digest(x, EVP_sha256(), digest, &len) != 1)
		return;
	for (size_t i = 0; i < len && 2 * i + 2 < sizeof(s->fingerprint); i++)
		snprintf(s->fingerprint + 2 * i, 3, "%02x", digest[i]);
}

/* An authority's URI name is its domain alone. */
static void fill_domain(struct certshow *s, const GENERAL_NAMES *names)
{
	char domain[IDENTITY_DOMAIN_MAX + 1];

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const ASN1_STRING *uri = name->d.uniformResourceIdentifier;

		if (name->type == GEN_URI &&
		    identity_parse_domain(domain, (const char *)ASN1_STRING_get0_data(uri),
		        (size_t)ASN1_STRING_length(uri), NULL) == 0)
			snprintf(s->identity, sizeof(s->identity), "spiffe://%s", domain);
	}
}

static int fill_hosts(struct certshow *s, const GENERAL_NAMES *names)
{
	int count = sk_GENERAL_NAME_num(names);
	char text[256];

	if (count <= 0)
		return 0;
	s->hosts = calloc((size_t)count, sizeof(*s->hosts));
	if (s->hosts == NULL)
		return TX_ENOMEM;
	for (int i = 0; i < count; i++) {
		if (!tls_host_text(sk_GENERAL_NAME_value(names, i), text, sizeof(text)))
			continue;
		s->hosts[s->hosts_len] = strdup(text);
		if (s->hosts[s->hosts_len] == NULL)
			return TX_ENOMEM;
		s->hosts_len++;
	}
	return 0;
}

static void fill_identity(struct certshow *s, X509 *x)
{
	struct identity id;
	struct err why;

	if (tls_cert_identity(x, &id, "the certificate", &why) == 0)
		identity_format(s->identity, &id);
	else
		snprintf(s->flaw, sizeof(s->flaw), "%.*s", (int)sizeof(s->flaw) - 1, why.message);
}

static int fill(struct certshow *s, X509 *x)
{
	uint32_t use = X509_get_extended_key_usage(x);
	EVP_PKEY *key = X509_get0_pubkey(x);
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	int rc;

	s->authority = (X509_get_extension_flags(x) & EXFLAG_CA) != 0;
	s->self_signed = (X509_get_extension_flags(x) & EXFLAG_SS) != 0;
	s->server = use != UINT32_MAX && (use & XKU_SSL_SERVER) != 0;
	s->client = use != UINT32_MAX && (use & XKU_SSL_CLIENT) != 0;
	tls_name_text(X509_get_subject_name(x), s->subject, sizeof(s->subject));
	tls_name_text(X509_get_issuer_name(x), s->issuer, sizeof(s->issuer));
	s->not_before = tls_time_epoch(X509_get0_notBefore(x));
	s->not_after = tls_time_epoch(X509_get0_notAfter(x));
	pem_serial(x, s->serial, sizeof(s->serial));
	fill_fingerprint(s, x);
	if (key != NULL)
		key_describe(key, s->key, sizeof(s->key));
	if (s->authority)
		fill_domain(s, names);
	else
		fill_identity(s, x);
	rc = fill_hosts(s, names);
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return rc;
}

static bool signed_by(X509 *x, X509 *by)
{
	EVP_PKEY *key = X509_get0_pubkey(by);
	bool yes = key != NULL && X509_check_issued(by, x) == X509_V_OK && X509_verify(x, key) == 1;

	ERR_clear_error();
	return yes;
}

/* One more element of *list, filled from x. */
static int append(struct certshow **list, size_t *count, X509 *x)
{
	struct certshow *grown = reallocarray(*list, *count + 1, sizeof(**list));

	if (grown == NULL)
		return TX_ENOMEM;
	*list = grown;
	memset(&grown[*count], 0, sizeof(*grown));
	(*count)++;
	return fill(&grown[*count - 1], x);
}

int certshow_read(struct certshow **out, size_t *count, const char *text, size_t len,
    const char *name, struct err *e)
{
	static const char private_key[] = "PRIVATE KEY";
	BIO *in = len > INT_MAX ? NULL : BIO_new_mem_buf(text, (int)len);
	struct certshow *list = NULL;
	X509 *x, *before = NULL;
	size_t n = 0;
	int rc = 0;

	if (in == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	while (rc == 0 && n < CERTIFICATES_MAX &&
	       (x = PEM_read_bio_X509(in, NULL, pem_no_passphrase, NULL)) != NULL) {
		rc = append(&list, &n, x);
		if (rc == 0 && before != NULL)
			list[n - 2].signer_follows = signed_by(before, x);
		X509_free(before);
		before = x;
	}
	X509_free(before);
	BIO_free(in);
	ERR_clear_error();
	if (rc != 0)
		err_set(e, rc, "out of memory");
	else if (n == 0)
		rc = err_set(e, TX_ECERT,
		    memmem(text, len, private_key, sizeof(private_key) - 1) != NULL
		        ? "%s holds a private key, not a certificate"
		        : "%s has no certificate in it that can be read (PEM, BEGIN CERTIFICATE)",
		    name);
	if (rc != 0) {
		certshow_free(list, n);
		return rc;
	}
	*out = list;
	*count = n;
	return 0;
}

void certshow_free(struct certshow *shown, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < shown[i].hosts_len; j++)
			free(shown[i].hosts[j]);
		free(shown[i].hosts);
	}
	free(shown);
}

enum certshow_state certshow_state(const struct certshow *shown, int64_t now)
{
	if (now > shown->not_after)
		return CERTSHOW_EXPIRED;
	return now < shown->not_before ? CERTSHOW_NOT_YET : CERTSHOW_VALID;
}

const char *certshow_state_name(enum certshow_state state)
{
	switch (state) {
	case CERTSHOW_VALID:
		return "valid";
	case CERTSHOW_NOT_YET:
		return "not yet valid";
	case CERTSHOW_EXPIRED:
		return "expired";
	}
	return "";
}

static const char *what_it_is(const struct certshow *s)
{
	if (s->authority)
		return s->self_signed ? "authority" : "authority below another";
	if (s->server)
		return s->client ? "agent, also as a client" : "agent (server)";
	return s->client ? "user (client)" : "certificate without a use in telex";
}

/* "6 days", "3 hours", "12 minutes", "40 seconds": the largest unit that is whole. */
static void say_span(char *out, size_t size, int64_t seconds)
{
	static const struct {
		int64_t seconds;
		const char *one;
	} units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	size_t i = 0;

	while (i < 3 && seconds < units[i].seconds)
		i++;
	snprintf(out, size, "%lld %s%s", (long long)(seconds / units[i].seconds), units[i].one,
	    seconds / units[i].seconds == 1 ? "" : "s");
}

static void say_state(FILE *f, const struct certshow *s, int64_t now)
{
	char from[TLS_TIME_SIZE], to[TLS_TIME_SIZE], span[48];

	tls_time_text(from, s->not_before);
	tls_time_text(to, s->not_after);
	switch (certshow_state(s, now)) {
	case CERTSHOW_VALID:
		say_span(span, sizeof(span), s->not_after - now);
		fprintf(f, "  valid      expires in %s, on %s; from %s\n", span, to, from);
		break;
	case CERTSHOW_NOT_YET:
		say_span(span, sizeof(span), s->not_before - now);
		fprintf(f, "  NOT YET    valid from %s (in %s) until %s\n", from, span, to);
		break;
	case CERTSHOW_EXPIRED:
		say_span(span, sizeof(span), now - s->not_after);
		fprintf(f, "  EXPIRED    on %s (%s ago)\n", to, span);
		break;
	}
}

char *certshow_words(const struct certshow *s, int64_t now)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	bool failed;

	if (f == NULL)
		return NULL;
	fprintf(f, "%s: %s\n", what_it_is(s),
	    s->identity[0] != '\0'  ? s->identity
	    : s->subject[0] != '\0' ? s->subject
	                            : "(no name)");
	if (s->flaw[0] != '\0')
		fprintf(f, "  FLAW       %s\n", s->flaw);
	say_state(f, s, now);
	if (s->hosts_len > 0)
		fprintf(f, "  hosts      ");
	for (size_t i = 0; i < s->hosts_len; i++)
		fprintf(f, "%s%s", s->hosts[i], i + 1 < s->hosts_len ? ", " : "\n");
	if (!s->authority && s->server && s->hosts_len == 0)
		fprintf(f, "  FLAW       it names no host, so no client will accept it\n");
	fprintf(f, "  issued by  %s%s\n", s->issuer,
	    s->self_signed      ? " (itself)"
	    : s->signer_follows ? " (follows)"
	                        : "");
	fprintf(f, "  key        %s\n", s->key);
	fprintf(f, "  serial     %s\n", s->serial);
	fprintf(f, "  sha256     %s\n", s->fingerprint);
	failed = ferror(f) != 0;
	if (fclose(f) != 0 || failed) {
		free(text);
		return NULL;
	}
	return text;
}
