/* SPDX-License-Identifier: Apache-2.0 */
/* Where a certificate that was made here goes: NAME.pem, NAME.key and the authority's, in a folder.
 */
#include <string.h>
#include <sys/stat.h>

#include "certs/certfile.h"
#include "certs/record.h"
#include "cli/cert_audit.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "common/tls.h"

static bool same_folder(const char *a, const char *b)
{
	struct stat one, two;

	return stat(a, &one) == 0 && stat(b, &two) == 0 && one.st_dev == two.st_dev &&
	       one.st_ino == two.st_ino;
}

/* Whether ca.pem is to be written beside what is issued, so that the files go together. The same
 * text there is fine. */
static int check_ca(struct cert_out *out, const struct ca *ca, bool force, struct err *e)
{
	size_t len, there_len = 0;
	const char *text = ca_certificate(ca, &len);
	char *there = NULL;
	int rc;

	out->write_ca = true;
	if (!certfile_exists(out->ca))
		return 0;
	rc = tls_read_file(out->ca, &there, &there_len, e);
	if (rc != 0)
		return rc;
	out->write_ca = there_len != len || memcmp(there, text, len) != 0;
	tls_text_free(there, there_len);
	if (out->write_ca && !force)
		return err_set(e, TX_EEXIST,
		    "%s is of another authority; choose another folder with --out, or --force",
		    out->ca);
	return 0;
}

static int check_new(const char *path, struct err *e)
{
	if (certfile_exists(path))
		return err_set(e, TX_EEXIST, "%s is there already; --force writes over it", path);
	return 0;
}

int cmd_cert_out_check(struct cert_out *out, const struct cert_options *c, const char *name,
    const char *ca_dir, const struct ca *ca, struct err *e)
{
	int rc = certfile_path(out->certificate, c->out, name, ".pem", e);

	out->force = c->force;
	out->dir = c->out;
	if (rc == 0)
		rc = certfile_path(out->key, c->out, name, ".key", e);
	if (rc == 0)
		rc = certfile_path(out->ca, c->out, CA_CERTIFICATE_FILE, "", e);
	/* What is called as the authority's files would take their place. */
	if (rc == 0 && (strcmp(name, "ca") == 0 || strcmp(name, "intermediate") == 0))
		rc = err_set(e, TX_EINVAL, "\"%s\" is the name of the authority's own files", name);
	if (rc == 0 && !c->force)
		rc = check_new(out->certificate, e);
	if (rc == 0 && !c->force && !out->no_key)
		rc = check_new(out->key, e);
	if (rc == 0 && !same_folder(ca_dir, c->out))
		rc = check_ca(out, ca, c->force, e);
	return rc;
}

int cmd_cert_out_write(const struct cert_out *out, const char *act, const char *ca_dir,
    const struct ca *ca, const struct issued *issued, struct err *e)
{
	size_t len;
	const char *text = ca_certificate(ca, &len);
	int rc = paths_make_folder(out->dir, e);

	if (rc == 0)
		rc = record_issued(ca_dir, issued, e);
	if (rc == 0)
		rc = cert_audit_issued(ca_dir, act, issued, e);
	if (rc == 0 && out->write_ca)
		rc = certfile_write(out->ca, text, len, CERTFILE_CERTIFICATE, out->force, e);
	if (rc == 0 && out->no_key)
		rc = certfile_write(out->certificate, issued->certificate, issued->certificate_len,
		    CERTFILE_CERTIFICATE, out->force, e);
	else if (rc == 0)
		rc = certfile_write_pair(out->certificate, issued->certificate,
		    issued->certificate_len, out->key, issued->key, issued->key_len, out->force, e);
	return rc;
}

json_t *cmd_cert_out_json(const struct cert_out *out, const struct issued *issued)
{
	json_t *o = json_object();

	json_object_set_new(o, "identity", output_json_text(issued->identity));
	json_object_set_new(o, "serial", output_json_text(issued->serial));
	json_object_set_new(o, "not_before", cmd_cert_time(issued->not_before));
	json_object_set_new(o, "not_after", cmd_cert_time(issued->not_after));
	json_object_set_new(o, "certificate", output_json_text(out->certificate));
	if (!out->no_key)
		json_object_set_new(o, "key", output_json_text(out->key));
	json_object_set_new(o, "ca", output_json_text(out->ca));
	return o;
}
