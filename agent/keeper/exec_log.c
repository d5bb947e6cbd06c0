/* SPDX-License-Identifier: Apache-2.0 */
/* The files, the writers' numbers, and the keeper's own chain. What is written: exec_record.c. */
#include "agent/keeper/exec_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/exec_log_internal.h"
#include "common/audit.h"
#include "common/duration.h"
#include "common/log.h"

#define AUDIT_NAME "audit.log"
#define OPEN_MAX   64 /* chains without an end that are noted at a start */
#define OPEN_FLAGS (O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* ---- the files ---- */

static const char *folder_of(const struct config *c, char *buf, size_t size)
{
	const char *slash = c->audit_log != NULL ? strrchr(c->audit_log, '/') : NULL;

	/* What is thrown away (a device) has the keeper's record where the state is. */
	if (c->audit_log == NULL || strncmp(c->audit_log, "/dev/", 5) == 0)
		snprintf(buf, size, "%s", c->state_directory);
	else if (slash == NULL)
		snprintf(buf, size, ".");
	else
		snprintf(buf, size, "%.*s", (int)(slash - c->audit_log) + (slash == c->audit_log),
		    c->audit_log);
	return buf;
}

static void name_files(struct exec_paths *p, const struct config *c)
{
	char folder[EXEC_PATH_MAX];
	const char *base = AUDIT_NAME;

	folder_of(c, folder, sizeof(folder));
	if (c->audit_log != NULL && strncmp(c->audit_log, "/dev/", 5) != 0) {
		base = strrchr(c->audit_log, '/');
		base = base != NULL ? base + 1 : c->audit_log;
	}
	if (c->audit_log != NULL)
		snprintf(p->audit, sizeof(p->audit), "%s", c->audit_log);
	else
		snprintf(p->audit, sizeof(p->audit), "%s/%s", folder, AUDIT_NAME);
	/* audit.log -> exec.log, audit-b.log -> exec-b.log, log -> exec-log */
	if (strncmp(base, "audit", 5) == 0)
		snprintf(p->exec, sizeof(p->exec), "%s/exec%s", folder, base + 5);
	else
		snprintf(p->exec, sizeof(p->exec), "%s/exec-%s", folder, base);
	snprintf(p->head, sizeof(p->head), "%s" AUDIT_HEAD_SUFFIX, p->exec);
}

static int check_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "%s", path);
	if (S_ISCHR(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode))
		return err_set(e, TX_EPERM, "%s: not a regular file", path);
	if (st.st_uid != geteuid())
		return err_set(e, TX_EPERM,
		    "%s: belongs to uid %u, and must to the agent's own, %u", path, st.st_uid,
		    geteuid());
	if ((st.st_mode & 022) != 0)
		return err_set(e, TX_EPERM, "%s: others may write to it; chmod 600 %s", path, path);
	return 0;
}

static int open_file(int *fd, const char *path, int how, struct err *e)
{
	int rc;

	*fd = open(path, how | OPEN_FLAGS | O_CREAT | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return err_sys(e, errno, "%s", path);
	rc = check_file(*fd, path, e);
	if (rc < 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

static bool is_same_file(int a, int b)
{
	struct stat sa, sb;

	return a >= 0 && fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

int exec_log_open_for_worker(struct exec_log *x, int *fd, struct err *e)
{
	char path[40];

	if (x == NULL) {
		*fd = open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC);
		return *fd >= 0 ? 0 : err_sys(e, errno, "/dev/null");
	}
	/* The file that is open, also when another has its name by now; but not the same open file,
	 * whose flags a worker could change for all. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", x->audit_fd);
	*fd = open(path, O_WRONLY | OPEN_FLAGS);
	return *fd >= 0 ? 0 : open_file(fd, x->paths.audit, O_WRONLY, e);
}

int exec_log_open_to_read(const struct exec_log *x)
{
	char path[40];
	int fd;

	if (x == NULL)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", x->audit_fd);
	fd = open(path, O_RDONLY | OPEN_FLAGS);
	if (fd < 0)
		fd = open(x->paths.audit, O_RDONLY | OPEN_FLAGS | O_NOFOLLOW);
	return fd;
}

/* ---- writers ---- */

/* Microseconds since the epoch, made unique: less than 2^53 for two centuries. */
uint64_t exec_log_writer(struct exec_log *x)
{
	uint64_t now = (uint64_t)(clock_realtime_ns() / 1000);

	if (x == NULL)
		return now;
	x->last_id = now > x->last_id ? now : x->last_id + 1;
	return x->last_id;
}

/* What a new chain in fd follows: the last record there, or, in a new file, that of the file before
 * it: of our own chain, or of whoever wrote one here. What was cut off stays missing: it is that
 * then. */
static void find_link(const struct exec_log *x, int fd, uint8_t hash[AUDIT_HASH_SIZE])
{
	struct err e, no_note;
	int head = audit_head_open(x->paths.head, &no_note);
	bool cut;
	int rc;

	memset(hash, 0, AUDIT_HASH_SIZE);
	rc = audit_tail_noted(fd, head, hash, &cut, &e);
	if (rc < 0)
		memset(hash, 0, AUDIT_HASH_SIZE);
	else if (rc == 0 && audit_seq(x->own) > 0)
		audit_hash(x->own, hash);
	if (rc >= 0 && cut)
		log_error("%s: the record that was noted as the last one is not there any more: "
		          "its end was cut off",
		    x->paths.exec);
	if (rc < 0 || (rc == 0 && head < 0 && audit_seq(x->own) == 0))
		log_error("%s: %s; its records are tied to none before them", x->paths.exec,
		    rc < 0 ? e.message : no_note.message);
	if (head >= 0)
		close(head);
}

/* For as long as it is open: by that `telex audit verify` knows that its writer runs. */
static void hold(const struct exec_log *x, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !audit_lock_try(fd))
		log_warn("%s: another agent writes there, too", x->paths.exec);
}

/* Takes fd. A chain that goes on (state) or a new one, for which the one of before ends. */
static int begin_chain(struct exec_log *x, int fd, const struct config *c,
    const struct exec_log_state *before, struct err *e)
{
	struct audit_options o = {
	    .program = "keeper",
	    .fsync = c->audit_fsync,
	    .syslog = c->audit_syslog,
	    .drop = c->audit_full == KM_AUDIT_DROP,
	    .link = AUDIT_LINK_AFTER,
	    .head_path = x->paths.head,
	};
	struct audit *own;
	int rc;

	hold(x, fd);
	if (before != NULL && before->seq > 0) {
		o.writer = before->writer;
		o.seq = before->seq;
		memcpy(o.hash, before->hash, sizeof(o.hash));
	} else {
		o.writer = exec_log_writer(x);
		audit_finish(x->own);
		find_link(x, fd, o.linked);
	}
	rc = audit_new(&own, fd, &o, e);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	audit_leave(x->own);
	x->own = own;
	x->writer = o.writer;
	x->own_fd = fd;
	return 0;
}

/* ---- its life ---- */

static int open_both(
    struct exec_paths *p, const struct config *c, int *audit_fd, int *own_fd, struct err *e)
{
	int rc;

	name_files(p, c);
	rc = open_file(audit_fd, p->audit, O_WRONLY, e);
	/* To be read, too: its end. */
	if (rc == 0)
		rc = open_file(own_fd, p->exec, O_RDWR, e);
	if (rc < 0 && *audit_fd >= 0)
		close(*audit_fd);
	return rc < 0 ? err_wrap(e, "audit log") : 0;
}

int exec_log_check(const struct config *c, struct err *e)
{
	struct exec_paths paths;
	int audit_fd = -1, own_fd = -1;
	int rc = open_both(&paths, c, &audit_fd, &own_fd, e);

	if (rc < 0)
		return rc;
	close(audit_fd);
	close(own_fd);
	return 0;
}

/* In place of files that cannot be opened: what is written fails. */
static int open_full(int *audit_fd, int *own_fd, struct err *e)
{
	*audit_fd = open("/dev/full", O_WRONLY | OPEN_FLAGS);
	*own_fd = open("/dev/full", O_WRONLY | OPEN_FLAGS);
	if (*audit_fd >= 0 && *own_fd >= 0)
		return 0;
	err_sys(e, errno, "/dev/full");
	if (*audit_fd >= 0)
		close(*audit_fd);
	return TX_ESYS;
}

/*
 * Workers of a keeper that was killed, and with it perhaps: how far their chains are nobody else
 * will note. One that still writes goes on from there.
 */
static void note_open_chains(struct exec_log *x)
{
	struct audit_open list[OPEN_MAX];
	int fd = open(x->paths.audit, O_RDONLY | OPEN_FLAGS | O_NOFOLLOW);
	struct err e;
	int n;

	if (fd < 0)
		return;
	n = audit_tail_open(fd, list, OPEN_MAX, &e);
	close(fd);
	if (n < 0)
		log_warn("%s: %s", x->paths.audit, e.message);
	for (int i = 0; i < n; i++)
		exec_log_found(x, &list[i]);
}

int exec_log_new(struct exec_log **out, const struct config *c, const struct exec_log_state *before,
    struct err *e)
{
	struct exec_log *x = calloc(1, sizeof(*x));
	int own_fd = -1;
	int rc;

	if (x == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	x->audit_fd = x->own_fd = -1;
	x->last_id = before != NULL ? before->last_id : 0;
	rc = open_both(&x->paths, c, &x->audit_fd, &own_fd, e);
	if (rc < 0 && before != NULL && before->seq > 0) {
		log_error("%s", e->message);
		rc = open_full(&x->audit_fd, &own_fd, e);
	}
	if (rc == 0)
		rc = begin_chain(x, own_fd, c, before, e);
	if (rc < 0) {
		if (x->audit_fd >= 0 && own_fd >= 0)
			close(x->audit_fd);
		free(x);
		return rc;
	}
	if (before == NULL || before->seq == 0)
		note_open_chains(x);
	*out = x;
	return 0;
}

void exec_log_free(struct exec_log *x)
{
	if (x == NULL)
		return;
	audit_free(x->own);
	close(x->audit_fd);
	free(x);
}

void exec_log_save(const struct exec_log *x, struct exec_log_state *out)
{
	*out = (struct exec_log_state){0};
	if (x == NULL)
		return;
	out->last_id = x->last_id;
	out->writer = x->writer;
	out->seq = audit_seq(x->own);
	audit_hash(x->own, out->hash);
}

int exec_log_reopen(struct exec_log *x, const struct config *c, struct err *e)
{
	struct exec_paths paths;
	int audit_fd = -1, own_fd = -1;
	int rc;

	if (x == NULL)
		return 0;
	rc = open_both(&paths, c, &audit_fd, &own_fd, e);
	if (rc < 0)
		return rc;
	if (!is_same_file(x->own_fd, own_fd)) {
		exec_log_event(x, "rotated", NULL);
		/* The note stays where it is: beside the file of that name. */
		x->paths = paths;
		rc = begin_chain(x, own_fd, c, NULL, e);
		if (rc < 0) {
			close(audit_fd);
			return rc;
		}
	} else {
		close(own_fd);
	}
	close(x->audit_fd);
	x->audit_fd = audit_fd;
	x->paths = paths;
	return 0;
}
