/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What telex-ca makes of a request that a worker hands on: of anybody's who comes to the
 * authority's door. Requests, each with a byte before it:
 *
 *     0  a CaRequest by its descriptor           1  a part as it is
 *     2  an enrolment: whose token (0 an agent's, 1 a user's, 2 one that is expired, 3 a withdrawn
 *        one, 4 none), and a signing request
 *     3  a renewal: of which certificate (0 the agent's, 1 the user's, 2 another authority's, 3 one
 *        that is in no ledger, 4 a part), how (1: a wrong proof), and a signing request
 *     4  the revocation list: beyond which number
 *     5  the user is revoked
 *
 * A signing request is: which key (of two; 128: a part instead), and a part: the names that it asks
 * for, DER.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/ca/authority.h"
#include "certs/csr.h"
#include "certs/pem.h"
#include "certs/proof.h"
#include "certs/token.h"
#include "common/mem.h"
#include "common/rpc_status.h"
#include "common/tls_cert.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/message.h"
#include "tests/fuzz/place.h"

#define REQUESTS_MAX 8
#define AGENT        "build7.example"
#define USER         "alice"

struct secrets {
	uint8_t agent[TOKEN_SECRET_SIZE], user[TOKEN_SECRET_SIZE];
	uint8_t expired[TOKEN_SECRET_SIZE], withdrawn[TOKEN_SECRET_SIZE];
	uint8_t none[TOKEN_SECRET_SIZE];
};

struct scene {
	struct authority au;
	bool revoked; /* the user */
};

static struct ca *ca, *other;
static EVP_PKEY *keys[2];
static struct secrets secrets;
/* Of the keys: the agent's of the first one, the others of the second. */
static struct issued agent, user, foreign, unknown;

static void issue(struct issued *out, const struct ca *by, enum identity_kind kind,
    const char *name, EVP_PKEY *key)
{
	const struct issue_request want = {.kind = kind, .name = name};
	struct err e;

	fuzz_require(issue_for_key(out, by, &want, key, &e) == 0);
}

static void set_up(void)
{
	const struct ca_options o = {.key_type = KEY_ED25519};

	if (ca != NULL)
		return;
	fuzz_require(ca_new(&ca, &o, NULL) == 0 && ca_new(&other, &o, NULL) == 0);
	for (int i = 0; i < 2; i++)
		keys[i] = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	fuzz_require(keys[0] != NULL && keys[1] != NULL);
	for (size_t i = 0; i < sizeof(secrets); i++)
		((uint8_t *)&secrets)[i] = (uint8_t)(i / TOKEN_SECRET_SIZE + 1);
	issue(&agent, ca, IDENTITY_AGENT, AGENT, keys[0]);
	issue(&user, ca, IDENTITY_USER, USER, keys[1]);
	issue(&foreign, other, IDENTITY_USER, USER, keys[1]);
	issue(&unknown, ca, IDENTITY_USER, USER, keys[1]);
}

/* ---- the book ---- */

static void add_token(struct ledger *l, const uint8_t *secret, enum identity_kind kind,
    const char *name, int64_t expires)
{
	struct ledger_token t = {.kind = kind,
	    .sans = kind == IDENTITY_AGENT ? AGENT : "",
	    .ttl_s = 3600,
	    .expires = expires};
	struct err e;

	snprintf(t.name, sizeof(t.name), "%s", name);
	token_hash(secret, t.hash);
	fuzz_require(ledger_add_token(l, &t, &e) == 0);
}

static void add_issued(struct ledger *l, const struct issued *i)
{
	struct ledger_certificate c = {
	    .not_before = i->not_before, .not_after = i->not_after, .issued = i->not_before};
	struct err e;

	snprintf(c.serial, sizeof(c.serial), "%s", i->serial);
	snprintf(c.identity, sizeof(c.identity), "%s", i->identity);
	fuzz_require(ledger_add(l, &c, i->certificate, &e) == 0);
}

static struct ledger *open_book(const char *dir)
{
	struct ledger *l = NULL;
	int64_t now = (int64_t)time(NULL);
	char id[LEDGER_TOKEN_ID_SIZE];
	uint8_t hash[LEDGER_HASH_SIZE];
	struct err e;

	fuzz_require(ledger_open(&l, dir, &e) == 0);
	add_token(l, secrets.agent, IDENTITY_AGENT, AGENT, now + 600);
	add_token(l, secrets.user, IDENTITY_USER, USER, now + 600);
	add_token(l, secrets.expired, IDENTITY_USER, USER, now - 600);
	add_token(l, secrets.withdrawn, IDENTITY_USER, "bob", now + 600);
	token_hash(secrets.withdrawn, hash);
	ledger_token_id(id, hash);
	fuzz_require(ledger_withdraw_token(l, id, &e) == 0);
	add_issued(l, &agent);
	add_issued(l, &user);
	return l;
}

/* ---- signing requests ---- */

static void add_names(X509_REQ *req, const uint8_t *der, size_t len)
{
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();

	ASN1_OCTET_STRING_set(value, der, (int)len);
	sk_X509_EXTENSION_push(
	    list, X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, value));
	X509_REQ_add_extensions(req, list);
	ASN1_OCTET_STRING_free(value);
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
}

/* The caller's to free. */
static ProtobufCBinaryData take_csr(struct fuzz_input *in)
{
	ProtobufCBinaryData out = {0, NULL};
	uint8_t how = fuzz_byte(in), *der = NULL;
	size_t len;
	const uint8_t *part = fuzz_part(in, &len);
	X509_REQ *req;
	int der_len;

	if ((how & 128) != 0) {
		out.data = (uint8_t *)xmemdup0(part, len);
		out.len = len;
		return out;
	}
	req = X509_REQ_new();
	X509_REQ_set_version(req, X509_REQ_VERSION_1);
	X509_REQ_set_pubkey(req, keys[how & 1]);
	if (len > 0)
		add_names(req, part, len);
	X509_REQ_sign(req, keys[how & 1], NULL);
	der_len = i2d_X509_REQ(req, &der);
	if (der_len > 0) {
		out.data = (uint8_t *)xmemdup0(der, (size_t)der_len);
		out.len = (size_t)der_len;
	}
	OPENSSL_free(der);
	X509_REQ_free(req);
	return out;
}

/* ---- answers ---- */

static void check_certificate(const struct answer *a, const char *name, bool of_agent)
{
	const char *pem = a->message.certificate_chain;
	struct identity id;
	struct err e;
	X509 *x = NULL;

	fuzz_require(pem_to_certificate(&x, pem, strlen(pem), "f", &e) == 0);
	fuzz_require(tls_cert_check_leaf(x, of_agent, &id, "", NULL, &e) == 0);
	fuzz_require(id.kind == (of_agent ? IDENTITY_AGENT : IDENTITY_USER));
	fuzz_require(strcmp(id.name, name) == 0 && strcmp(id.domain, ca_domain(ca)) == 0);
	X509_free(x);
}

/* may: whether it may have got one, and then of whom. */
static void ask(struct scene *s, Telex__Internal__V1__CaRequest *q, bool may, bool of_agent)
{
	struct answer a;

	answer_init(&a);
	authority_answer(&s->au, q, &a);
	fuzz_require(a.message.id == q->id);
	fuzz_require(a.message.code == RPC_OK || a.message.reason[0] != '\0');
	fuzz_require(telex__internal__v1__ca_answer__get_packed_size(&a.message) > 0 || q->id == 0);
	if (a.message.certificate_chain[0] != '\0') {
		fuzz_require(may && a.message.code == RPC_OK);
		check_certificate(&a, of_agent ? AGENT : USER, of_agent);
	}
	answer_clear(&a);
}

static void ask_enroll(struct scene *s, struct fuzz_input *in)
{
	uint8_t whose = fuzz_byte(in) % 5;
	Telex__Internal__V1__CaRequest q = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__EnrollRequest m = TELEX__V1__ENROLL_REQUEST__INIT;

	m.secret.data = (uint8_t *)&secrets + whose * TOKEN_SECRET_SIZE;
	m.secret.len = TOKEN_SECRET_SIZE;
	m.csr = take_csr(in);
	q.id = 7;
	q.peer = (char *)(uintptr_t) "127.0.0.1:5";
	q.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_ENROLL;
	q.enroll = &m;
	ask(s, &q, whose == 0 || (whose == 1 && !s->revoked), whose == 0);
	free(m.csr.data);
}

static void ask_renew(struct scene *s, struct fuzz_input *in)
{
	const struct issued *const all[] = {&agent, &user, &foreign, &unknown};
	uint8_t which = fuzz_byte(in) % 5, how = fuzz_byte(in);
	Telex__Internal__V1__CaRequest q = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__RenewRequest m = TELEX__V1__RENEW_REQUEST__INIT;
	char *part = NULL;
	size_t len;
	const uint8_t *text;
	struct err e;
	bool wrong = (how & 1) != 0;

	m.csr = take_csr(in);
	if (which == 4) {
		text = fuzz_part(in, &len);
		part = xmemdup0(text, len);
	}
	m.certificate_chain = part != NULL ? part : all[which]->certificate;
	fuzz_require(proof_make(keys[(which != 0) != wrong], m.csr.data, m.csr.len,
	                 &m.signature.data, &m.signature.len, &e) == 0);
	q.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_RENEW;
	q.renew = &m;
	ask(s, &q, !wrong && (which == 0 || (which == 1 && !s->revoked)), which == 0);
	free(m.signature.data);
	free(m.csr.data);
	free(part);
}

static void ask_packed(struct scene *s, const uint8_t *data, size_t len)
{
	Telex__Internal__V1__CaRequest *q =
	    telex__internal__v1__ca_request__unpack(NULL, len, data);

	/* The secrets are not to be guessed. */
	if (q != NULL) {
		ask(s, q, false, false);
		telex__internal__v1__ca_request__free_unpacked(q, NULL);
	}
}

static void step(struct scene *s, struct fuzz_input *in)
{
	Telex__Internal__V1__CaRequest q = TELEX__INTERNAL__V1__CA_REQUEST__INIT;
	Telex__V1__GetRevocationsRequest list = TELEX__V1__GET_REVOCATIONS_REQUEST__INIT;
	struct ledger_revoked revoked;
	const uint8_t *part;
	uint8_t *built;
	struct err e;
	size_t len;

	switch (fuzz_byte(in) % 6) {
	case 0:
		built = fuzz_message(in, &telex__internal__v1__ca_request__descriptor, &len);
		ask_packed(s, built, len);
		free(built);
		break;
	case 1:
		part = fuzz_part(in, &len);
		ask_packed(s, part, len);
		break;
	case 2:
		ask_enroll(s, in);
		break;
	case 3:
		ask_renew(s, in);
		break;
	case 4:
		list.number = (int64_t)fuzz_number(in, 8);
		q.what_case = TELEX__INTERNAL__V1__CA_REQUEST__WHAT_GET_REVOCATIONS;
		q.get_revocations = &list;
		ask(s, &q, false, false);
		break;
	default:
		if (ledger_revoke(s->au.ledger, ca_domain(ca), user.identity, 0, &revoked, &e) == 0)
			s->revoked = true;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct fuzz_place place;
	struct scene s = {.revoked = false};
	char dir[80];

	fuzz_log_nowhere();
	set_up();
	place_enter(&place);
	snprintf(dir, sizeof(dir), "%s/in", place.top);
	s.au = (struct authority){.ca = ca, .ledger = open_book(dir)};
	for (int i = 0; i < REQUESTS_MAX && in.left > 0; i++)
		step(&s, &in);
	ledger_close(s.au.ledger);
	free(s.au.list);
	place_leave(&place);
	ERR_clear_error();
	return 0;
}
