/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer. A record is made in a buffer that is there from the beginning, so a call costs one
 * write(2) and no memory. A write that fails, or is short, counts as none: its number and the
 * chain's end stay as they were, and the next record has that number. What a short one left in the
 * file has no newline; the reader knows it by that.
 */
#include "common/audit.h"

#include <errno.h>
#include <sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/audit_internal.h"
#include "common/log.h"

#define SYSLOG_PRIORITY "<86>" /* LOG_AUTHPRIV | LOG_INFO */
#define SYSLOG_MAX      8000   /* what is longer is cut there: the file has it whole */

/* ---- writing ---- */

static void to_syslog(struct audit *a, size_t len)
{
	static const char tag[] = SYSLOG_PRIORITY "telex-audit: ";
	char text[sizeof(tag) + SYSLOG_MAX];
	size_t n = len - 1 < SYSLOG_MAX ? len - 1 : SYSLOG_MAX;

	memcpy(text, tag, sizeof(tag) - 1);
	memcpy(text + sizeof(tag) - 1, a->line, n);
	if (send(a->syslog, text, sizeof(tag) - 1 + n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    !a->trouble)
		log_warn("audit: the syslog does not take it: %s", strerror(errno));
}

static char *put_after(char *p, const uint8_t after[AUDIT_HASH_SIZE])
{
	memcpy(p, LINE_AFTER, sizeof(LINE_AFTER) - 1);
	p = audit_put_hex(p + sizeof(LINE_AFTER) - 1, after, AUDIT_HASH_SIZE);
	*p++ = '"';
	return p;
}

/* Makes the rest of the line that is there from its head to its last member. Its length. */
static size_t complete(struct audit *a, const uint8_t *after, uint8_t hash[AUDIT_HASH_SIZE])
{
	char *p = a->line + a->used;
	SHA2_CTX sha;

	if (a->cut) {
		memcpy(p, LINE_CUT, sizeof(LINE_CUT) - 1);
		p += sizeof(LINE_CUT) - 1;
	}
	if (after != NULL)
		p = put_after(p, after);
	memcpy(p, LINE_PREV, sizeof(LINE_PREV) - 1);
	p = audit_put_hex(p + sizeof(LINE_PREV) - 1, a->hash, sizeof(a->hash));
	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)a->line, (size_t)(p - a->line));
	SHA256Final(hash, &sha);
	memcpy(p, LINE_HASH, sizeof(LINE_HASH) - 1);
	p = audit_put_hex(p + sizeof(LINE_HASH) - 1, hash, AUDIT_HASH_SIZE);
	memcpy(p, LINE_END, sizeof(LINE_END) - 1);
	return (size_t)(p - a->line) + sizeof(LINE_END) - 1;
}

/* Writes the line that is there, from its head to its last member. */
static int append(struct audit *a, const uint8_t *after, struct err *e)
{
	uint8_t hash[AUDIT_HASH_SIZE];
	size_t len = complete(a, after, hash);
	ssize_t n;

	do
		n = write(a->fd, a->line, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0 && (size_t)n < len) {
		errno = ENOSPC;
		n = -1;
	}
	if (n < 0)
		return err_sys(e, errno, "the audit record cannot be written");
	a->seq++;
	memcpy(a->hash, hash, sizeof(hash));
	if (a->head >= 0)
		audit_head_put(a->head, hash);
	if (a->syslog >= 0)
		to_syslog(a, len);
	/* It is in the file; whether on the disk, nobody knows. EINVAL: no file, nothing to sync.
	 */
	if (a->hold_sync)
		return 0;
	if (a->o.fsync && fdatasync(a->fd) != 0 && errno != EINVAL && errno != EROFS)
		return err_sys(e, errno, "the audit record cannot be brought to the disk");
	return 0;
}

/* What it follows can be seen only while nobody else can write. */
static int write_line(struct audit *a, struct err *e)
{
	uint8_t after[AUDIT_HASH_SIZE] = {0};
	bool cut;
	int rc;

	if (!a->o.shared)
		return append(a, NULL, e);
	rc = audit_lock(a->fd, e);
	if (rc != 0)
		return rc;
	rc = audit_tail_noted(a->fd, a->head, after, &cut, e);
	if (rc >= 0 && cut)
		log_error("audit: the record that was noted as the last one is not in the log any "
		          "more: its end was cut off");
	if (rc >= 0)
		rc = append(a, after, e);
	audit_unlock(a->fd);
	return rc;
}

static void begin_line(struct audit *a, const char *event)
{
	a->cut = a->refused = false;
	audit_put_head(a, event);
	if (a->untold > 0)
		audit_number(a, "lost", (int64_t)a->untold);
}

static int end_line(struct audit *a, struct err *e)
{
	struct err why;
	int rc = write_line(a, &why);

	if (rc == 0) {
		a->untold = 0;
		if (a->trouble)
			log_info("audit: records can be written again");
		a->trouble = false;
		return 0;
	}
	if (!a->trouble)
		log_error("audit: %s%s", why.message,
		    a->o.drop ? "; dropped and counted" : "; calls are refused until it can");
	a->trouble = true;
	if (e != NULL)
		*e = why;
	return rc;
}

static int write_begin(struct audit *a, struct err *e)
{
	begin_line(a, "begin");
	audit_text(a, "program", a->o.program);
	audit_number(a, "pid", getpid());
	if (a->o.link != AUDIT_LINK_NONE)
		audit_hex(a, a->o.link == AUDIT_LINK_AFTER ? "after" : "begun", a->o.linked,
		    sizeof(a->o.linked));
	if (end_line(a, e) != 0)
		return TX_ESYS;
	a->begun = true;
	return 0;
}

/* ---- a writer's life ---- */

static int open_syslog(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		fd = -1;
	}
	return fd;
}

int audit_new(struct audit **out, int fd, const struct audit_options *o, struct err *e)
{
	struct audit *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	a->fd = fd;
	a->o = *o;
	a->second = -1;
	a->syslog = a->head = -1;
	if (o->head_path != NULL && (a->head = audit_head_open(o->head_path, e)) < 0)
		log_warn("audit: %s; where the log ends is not noted", e->message);
	if (o->syslog) {
		const char *path = o->syslog_path != NULL ? o->syslog_path : "/dev/log";

		a->syslog = open_syslog(path);
		if (a->syslog < 0)
			log_warn(
			    "audit: %s: %s; records go to the file alone", path, strerror(errno));
	}
	a->seq = o->seq;
	memcpy(a->hash, o->hash, sizeof(a->hash));
	a->begun = o->seq > 0;
	if (!a->begun)
		(void)write_begin(a, NULL);
	*out = a;
	return 0;
}

void audit_leave(struct audit *a)
{
	if (a == NULL)
		return;
	close(a->fd);
	if (a->syslog >= 0)
		close(a->syslog);
	if (a->head >= 0)
		close(a->head);
	free(a);
}

void audit_finish(struct audit *a)
{
	if (a == NULL || a->finished)
		return;
	a->finished = true;
	if (!a->begun)
		return;
	begin_line(a, "end");
	(void)end_line(a, NULL);
}

void audit_free(struct audit *a)
{
	audit_finish(a);
	audit_leave(a);
}

/* ---- a record ---- */

void audit_begin(struct audit *a, const char *event)
{
	bool begun;

	if (a == NULL)
		return;
	begun = a->begun || write_begin(a, NULL) == 0;
	begin_line(a, event);
	a->refused = !begun;
}

int audit_end(struct audit *a, struct err *e)
{
	int rc;

	if (a == NULL)
		return 0;
	if (a->refused || a->finished)
		rc = err_set(e, TX_ESYS, "the audit log cannot be written to");
	else
		rc = end_line(a, e);
	if (rc == 0)
		return 0;
	a->lost++;
	a->untold++;
	return a->o.drop ? 0 : rc;
}

void audit_hold_sync(struct audit *a, bool hold)
{
	if (a == NULL)
		return;
	if (a->hold_sync && !hold && a->o.fsync && fdatasync(a->fd) != 0 && errno != EINVAL &&
	    errno != EROFS)
		log_error("the audit records cannot be brought to the disk: %s", strerror(errno));
	a->hold_sync = hold;
}

/* ---- what is known of it ---- */

uint64_t audit_seq(const struct audit *a)
{
	return a != NULL ? a->seq : 0;
}

void audit_hash(const struct audit *a, uint8_t out[AUDIT_HASH_SIZE])
{
	if (a != NULL)
		memcpy(out, a->hash, AUDIT_HASH_SIZE);
	else
		memset(out, 0, AUDIT_HASH_SIZE);
}

uint64_t audit_lost(const struct audit *a)
{
	return a != NULL ? a->lost : 0;
}

bool audit_drops(const struct audit *a)
{
	return a != NULL && a->o.drop;
}
