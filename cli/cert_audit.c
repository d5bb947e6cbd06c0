/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cert_audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs/ca.h"
#include "certs/certfile.h"
#include "common/duration.h"

/* telex-ca runs as the owner of the folder, and must be able to write to what root made there. */
static int give_to_owner(int fd, const char *dir)
{
	struct stat st;

	if (geteuid() != 0)
		return 0;
	return stat(dir, &st) == 0 ? fchown(fd, st.st_uid, st.st_gid) : -1;
}

static int open_log(const char *dir, const char *suffix, char path[PATH_MAX], struct err *e)
{
	static const int flags = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
	int rc = certfile_path(path, dir, CA_AUDIT_FILE, suffix, e), fd;

	if (rc != 0)
		return rc;
	fd = open(path, flags | O_CREAT | O_EXCL, 0600);
	if (fd >= 0 && give_to_owner(fd, dir) != 0) {
		err_sys(e, errno, "%s", path);
		close(fd);
		return e->code;
	}
	if (fd < 0 && errno == EEXIST)
		fd = open(path, flags);
	return fd >= 0 ? fd : err_sys(e, errno, "cannot open %s", path);
}

int cert_audit_begin(struct audit **out, const char *dir, const char *act, struct err *e)
{
	char path[PATH_MAX], head[PATH_MAX], peer[40];
	const struct audit_options o = {.writer = (uint64_t)clock_realtime_ns() >> 11,
	    .program = "cli",
	    .fsync = true,
	    .shared = true, /* with telex-ca and other commands */
	    .head_path = head};
	int fd = open_log(dir, AUDIT_HEAD_SUFFIX, head, e), rc;

	/* It is the folder's owner's before anything is noted there. */
	if (fd < 0)
		return fd;
	close(fd);
	fd = open_log(dir, "", path, e);
	if (fd < 0)
		return fd;
	rc = audit_new(out, fd, &o, e);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	snprintf(peer, sizeof(peer), "uid %u", (unsigned)getuid());
	audit_begin(*out, "certificate");
	audit_text(*out, "act", act);
	audit_text(*out, "peer", peer);
	audit_flag(*out, "allowed", true);
	return 0;
}

int cert_audit_end(struct audit *a, struct err *e)
{
	int rc = audit_end(a, e);

	audit_free(a);
	return rc;
}

int cert_audit_issued(const char *dir, const char *act, const struct issued *issued, struct err *e)
{
	struct audit *a = NULL;
	int rc = cert_audit_begin(&a, dir, act, e);

	if (rc != 0)
		return rc;
	audit_text(a, "identity", issued->identity);
	audit_text(a, "serial", issued->serial);
	audit_number(a, "not_after", issued->not_after);
	return cert_audit_end(a, e);
}
