/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CertificateService, as an authority's own listener serves it. Each of its calls does the same
 * when it comes twice, so all are asked again over a lost connection.
 */
#include <string.h>

#include "certs/token.h"
#include "common/revocation_file.h"
#include "common/tls.h"
#include "lib/client.h"
#include "lib/error.h"
#include "lib/question.h"
#include "lib/request.h"
#include "telex/v1/certificate.pb-c.h"

#define CSR_MAX       ((size_t)32 << 10)
#define CHAIN_MAX     ((size_t)64 << 10)
#define SIGNATURE_MAX ((size_t)2048)

_Static_assert(TLS_PIN_SIZE == TOKEN_PIN_SIZE, "a token's pin is TLS's");

/* ---- clients ---- */

int telex_authority_new(struct telex_client **out, struct event_base *base,
    const struct telex_authority *authority, struct telex_error *error)
{
	const struct tls_trust trust = {.pin = authority->pin,
	    .ca = authority->ca,
	    .ca_len = authority->ca_len,
	    .ca_name = authority->ca_name};
	const struct telex_options options = {.address = authority->address,
	    .server_name = authority->server_name,
	    .connect_timeout_ms = authority->connect_timeout_ms,
	    .reconnect_ms = -1};
	struct tls_ctx *tls = NULL;
	struct err e;

	if (authority->pin == NULL && authority->ca == NULL)
		return error_set(error, TELEX_ERROR_USAGE,
		    "neither a pin nor the certificates to trust were given");
	if (tls_bare_client_ctx_new(&tls, &trust, &e) < 0)
		return error_from_err(error, TELEX_ERROR_CERTIFICATE, &e);
	if (client_new(out, base, &options, tls, error) == 0)
		return 0;
	tls_ctx_free(tls);
	return -1;
}

static int parse_token(struct token *t, const char *text, struct telex_error *error)
{
	struct err e;

	if (text == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "no token was given");
	if (token_parse(t, text, &e) < 0)
		return error_from_err(error, TELEX_ERROR_USAGE, &e);
	return 0;
}

int telex_authority_of_token(struct telex_client **out, struct event_base *base, const char *token,
    struct telex_error *error)
{
	struct telex_authority authority = {0};
	struct token t;
	int rc = parse_token(&t, token, error);

	if (rc < 0)
		return rc;
	authority.address = t.address;
	authority.pin = t.pin;
	rc = telex_authority_new(out, base, &authority, error);
	token_clear(&t);
	return rc;
}

/* ---- answers ---- */

static int give(const char *chain, const char *ca, const Google__Protobuf__Timestamp *end,
    const struct question_answer *to, void *arg)
{
	const struct telex_certificate c = {
	    .chain = chain, .ca = ca, .not_after = end != NULL ? end->seconds : 0};

	if (chain[0] == '\0' || ca[0] == '\0' || end == NULL)
		return TX_EPROTO;
	if (to->certificate != NULL)
		to->certificate(&c, arg);
	return 0;
}

static int enroll_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__EnrollResponse *m = (const Telex__V1__EnrollResponse *)msg;

	return give(m->certificate_chain, m->ca, m->not_after, to, arg);
}

static int renew_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__RenewResponse *m = (const Telex__V1__RenewResponse *)msg;

	return give(m->certificate_chain, m->ca, m->not_after, to, arg);
}

static int revocations_answer(
    const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__GetRevocationsResponse *m = (const Telex__V1__GetRevocationsResponse *)msg;

	if (to->revocations != NULL)
		to->revocations(m->revocations, strlen(m->revocations), arg);
	return 0;
}

static const struct question_kind enroll_kind = {
    .method = {"telex.v1.CertificateService", "Enroll", &telex__v1__enroll_response__descriptor,
        false, 0},
    .again = true,
    .answer = enroll_answer,
};
static const struct question_kind renew_kind = {
    .method = {"telex.v1.CertificateService", "Renew", &telex__v1__renew_response__descriptor,
        false, 0},
    .again = true,
    .answer = renew_answer,
};
static const struct question_kind revocations_kind = {
    .method = {"telex.v1.CertificateService", "GetRevocations",
        &telex__v1__get_revocations_response__descriptor, false, REVOCATION_MESSAGE_MAX},
    .again = true,
    .answer = revocations_answer,
};

static int taken_answer(const ProtobufCMessage *msg, const struct question_answer *to, void *arg)
{
	const Telex__V1__PutRevocationsResponse *m = (const Telex__V1__PutRevocationsResponse *)msg;
	const struct telex_revocations_taken taken = {
	    .number = m->number, .revoked = m->revoked, .connections_cut = m->connections_cut};

	if (to->taken != NULL)
		to->taken(&taken, arg);
	return 0;
}

static const struct question_kind put_kind = {
    .method = {"telex.v1.CertificateService", "PutRevocations",
        &telex__v1__put_revocations_response__descriptor, false, 0},
    .again = true,
    .answer = taken_answer,
};

/* ---- calls ---- */

static int check_csr(const void *csr, size_t len, struct telex_error *error)
{
	if (csr == NULL || len == 0 || len > CSR_MAX)
		return error_set(error, TELEX_ERROR_USAGE,
		    "a certificate's request has 1 to %zu bytes", CSR_MAX);
	return 0;
}

int telex_enroll(struct telex_client *authority, const char *token, const void *csr, size_t csr_len,
    int64_t timeout_ms, void (*each)(const struct telex_certificate *certificate, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__EnrollRequest request = TELEX__V1__ENROLL_REQUEST__INIT;
	const struct question_answer to = {.certificate = each};
	struct token t;
	int rc = check_csr(csr, csr_len, error);

	if (rc == 0)
		rc = parse_token(&t, token, error);
	if (rc < 0)
		return rc;
	request.secret = request_bytes(t.secret, sizeof(t.secret));
	request.csr = request_bytes(csr, csr_len);
	rc =
	    question_ask(authority, &enroll_kind, &request.base, timeout_ms, &to, done, arg, error);
	token_clear(&t);
	return rc;
}

/* NOLINTNEXTLINE(readability-function-size): the API is what it is */
int telex_renew(struct telex_client *authority, const char *chain, const void *csr, size_t csr_len,
    const void *signature, size_t signature_len, int64_t timeout_ms,
    void (*each)(const struct telex_certificate *certificate, void *arg), telex_done *done,
    void *arg, struct telex_error *error)
{
	Telex__V1__RenewRequest request = TELEX__V1__RENEW_REQUEST__INIT;
	const struct question_answer to = {.certificate = each};

	if (check_csr(csr, csr_len, error) < 0)
		return -1;
	if (chain == NULL || strlen(chain) > CHAIN_MAX)
		return error_set(error, TELEX_ERROR_USAGE,
		    "a certificate's chain has at most %zu bytes", CHAIN_MAX);
	if (signature == NULL || signature_len == 0 || signature_len > SIGNATURE_MAX)
		return error_set(
		    error, TELEX_ERROR_USAGE, "a signature has 1 to %zu bytes", SIGNATURE_MAX);
	request.certificate_chain = request_text(chain);
	request.csr = request_bytes(csr, csr_len);
	request.signature = request_bytes(signature, signature_len);
	return question_ask(
	    authority, &renew_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_get_revocations(struct telex_client *authority, int64_t number, int64_t timeout_ms,
    void (*each)(const char *pem, size_t len, void *arg), telex_done *done, void *arg,
    struct telex_error *error)
{
	Telex__V1__GetRevocationsRequest request = TELEX__V1__GET_REVOCATIONS_REQUEST__INIT;
	const struct question_answer to = {.revocations = each};

	request.number = number;
	return question_ask(
	    authority, &revocations_kind, &request.base, timeout_ms, &to, done, arg, error);
}

int telex_put_revocations(struct telex_client *client, const char *pem, size_t len,
    int64_t timeout_ms, void (*each)(const struct telex_revocations_taken *taken, void *arg),
    telex_done *done, void *arg, struct telex_error *error)
{
	Telex__V1__PutRevocationsRequest request = TELEX__V1__PUT_REVOCATIONS_REQUEST__INIT;
	const struct question_answer to = {.taken = each};

	if (pem == NULL || pem[len] != '\0' || strlen(pem) != len || len > REVOCATION_LIST_MAX)
		return error_set(error, TELEX_ERROR_USAGE,
		    "a revocation list is a text of at most %zu bytes", REVOCATION_LIST_MAX);
	request.revocations = request_text(pem);
	return question_ask(client, &put_kind, &request.base, timeout_ms, &to, done, arg, error);
}
