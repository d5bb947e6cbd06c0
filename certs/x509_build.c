/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/x509_build.h"

#include <limits.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <time.h>

#define SERIAL_BITS 128

static bool set_serial(X509 *x)
{
	BIGNUM *serial = BN_new();
	bool ok = serial != NULL &&
	          BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
	          !BN_is_zero(serial) &&
	          BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(x)) != NULL;

	BN_free(serial);
	return ok;
}

static bool set_dates(X509 *x, int64_t not_before, int64_t not_after)
{
	return ASN1_TIME_set(X509_getm_notBefore(x), (time_t)not_before) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(x), (time_t)not_after) != NULL;
}

X509 *x509_build_new(EVP_PKEY *key, const char *common_name, int64_t not_before, int64_t not_after)
{
	X509 *x = X509_new();

	if (x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
	    set_dates(x, not_before, not_after) && X509_set_pubkey(x, key) == 1 &&
	    X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, MBSTRING_UTF8,
	        (const unsigned char *)common_name, -1, -1, 0) == 1)
		return x;
	X509_free(x);
	return NULL;
}

bool x509_build_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *extension;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = extension != NULL && X509_add_ext(x, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return ok;
}

bool x509_build_name(GENERAL_NAMES *names, int type, const void *bytes, size_t len)
{
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *text =
	    ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

	if (name != NULL && text != NULL && len <= INT_MAX &&
	    ASN1_STRING_set(text, bytes, (int)len) == 1) {
		GENERAL_NAME_set0_value(name, type, text);
		text = NULL;
		if (sk_GENERAL_NAME_push(names, name) > 0)
			return true;
	}
	ASN1_STRING_free(text);
	GENERAL_NAME_free(name);
	return false;
}

bool x509_build_names(X509 *x, GENERAL_NAMES *names)
{
	return X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
}

const EVP_MD *x509_build_digest(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
}

bool x509_build_sign(X509 *x, EVP_PKEY *issuer_key)
{
	return X509_sign(x, issuer_key, x509_build_digest(issuer_key)) > 0;
}
