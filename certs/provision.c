/* SPDX-License-Identifier: Apache-2.0 */
#include "certs/provision.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/ca.h"
#include "certs/certfile.h"
#include "certs/issue.h"
#include "certs/record.h"

/* A kept authority must outlive what it will issue. */
#define CA_LEFT_MIN (INT64_C(30) * 86400)

static const char *const own_sans[] = {"localhost", "127.0.0.1", "::1"};
#define OWN_SANS (sizeof(own_sans) / sizeof(own_sans[0]))

int provision_paths_in(const char *dir, struct provision_paths *paths, struct err *e)
{
	int rc = certfile_path(paths->ca, dir, CA_CERTIFICATE_FILE, "", e);

	if (rc == 0)
		rc = certfile_path(paths->ca_key, dir, CA_KEY_FILE, "", e);
	if (rc == 0)
		rc = certfile_path(paths->agent, dir, "agent", ".pem", e);
	if (rc == 0)
		rc = certfile_path(paths->agent_key, dir, "agent", ".key", e);
	if (rc == 0)
		rc = certfile_path(paths->user, dir, "user", ".pem", e);
	if (rc == 0)
		rc = certfile_path(paths->user_key, dir, "user", ".key", e);
	return rc;
}

/* The folder's authority when it is good for a while and of the domain asked for, else a new one
 * over it. */
static int get_ca(struct ca **out, const struct provision_options *o, struct err *e)
{
	struct ca_options options = {.domain = o->domain};
	struct ca *ca = NULL;
	int rc = ca_load(&ca, o->dir, e);

	/* One that is there and may not be read is not ours to replace. */
	if (rc != 0 && rc != TX_ENOENT && rc != TX_ECERT)
		return rc;
	if (rc == 0 && ca_expires(ca) - (int64_t)time(NULL) > CA_LEFT_MIN &&
	    (o->domain == NULL || strcmp(o->domain, ca_domain(ca)) == 0)) {
		*out = ca;
		return 0;
	}
	ca_free(ca);
	ca = NULL;
	rc = ca_new(&ca, &options, e);
	if (rc == 0)
		rc = ca_save(ca, o->dir, true, e);
	if (rc == 0)
		rc = record_replaced(o->dir, e);
	if (rc == 0)
		*out = ca;
	else
		ca_free(ca);
	return rc;
}

static int issue_to(const struct ca *ca, const char *dir, const struct issue_request *request,
    const char *certificate, const char *key, struct err *e)
{
	struct issued issued;
	int rc = issue_certificate(&issued, ca, request, e);

	if (rc != 0)
		return rc;
	rc = record_issued(dir, &issued, e);
	if (rc == 0)
		rc = certfile_write_pair(certificate, issued.certificate, issued.certificate_len,
		    key, issued.key, issued.key_len, true, e);
	issue_free(&issued);
	return rc;
}

static int issue_agent(const struct ca *ca, const struct provision_options *o,
    const struct provision_paths *paths, struct err *e)
{
	struct issue_request request = {
	    .kind = IDENTITY_AGENT,
	    .name = o->agent == NULL ? "dev" : o->agent,
	    .ttl_s = o->agent_ttl_s,
	};
	const char **sans;
	int rc;

	if (o->sans_len > ISSUE_SANS_MAX - OWN_SANS)
		return err_set(
		    e, TX_EINVAL, "a certificate names at most %d hosts", ISSUE_SANS_MAX);
	sans = calloc(OWN_SANS + o->sans_len, sizeof(*sans));
	if (sans == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	memcpy(sans, own_sans, sizeof(own_sans));
	for (size_t i = 0; i < o->sans_len; i++)
		sans[OWN_SANS + i] = o->sans[i];
	request.sans = sans;
	request.sans_len = OWN_SANS + o->sans_len;
	rc = issue_to(ca, o->dir, &request, paths->agent, paths->agent_key, e);
	free(sans);
	return rc;
}

int provision_dev(const struct provision_options *o, struct provision_paths *paths, struct err *e)
{
	struct issue_request user = {
	    .kind = IDENTITY_USER,
	    .name = o->user == NULL ? "dev" : o->user,
	    .ttl_s = o->user_ttl_s,
	};
	struct provision_paths *p = malloc(sizeof(*p));
	struct ca *ca = NULL;
	int rc;

	if (p == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = provision_paths_in(o->dir, p, e);
	if (rc == 0)
		rc = certfile_make_dir(o->dir, e);
	if (rc == 0)
		rc = get_ca(&ca, o, e);
	if (rc == 0)
		rc = issue_agent(ca, o, p, e);
	if (rc == 0)
		rc = issue_to(ca, o->dir, &user, p->user, p->user_key, e);
	if (rc == 0 && paths != NULL)
		*paths = *p;
	ca_free(ca);
	free(p);
	return rc;
}
