/* SPDX-License-Identifier: Apache-2.0 */
#include "common/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/audit_internal.h"

/* As a rule the last record is in so much; pieces of records may follow the last whole one. */
static const size_t windows[] = {4096, 4 * AUDIT_RECORD_MAX, 64 * AUDIT_RECORD_MAX};

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hash(uint8_t out[AUDIT_HASH_SIZE], const char *hex)
{
	for (size_t i = 0; i < AUDIT_HASH_SIZE; i++) {
		int high = nibble(hex[2 * i]), low = high < 0 ? -1 : nibble(hex[2 * i + 1]);

		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void put_hex(char out[AUDIT_HEX], const uint8_t hash[AUDIT_HASH_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < AUDIT_HASH_SIZE; i++) {
		out[2 * i] = digits[hash[i] >> 4];
		out[2 * i + 1] = digits[hash[i] & 15];
	}
}

/* ---- the last record ---- */

/* The record that ends at `end`, behind pieces of others perhaps. */
static bool record_before(struct audit_line *l, const char *line, const char *end)
{
	const size_t head = sizeof(LINE_HEAD) - 1;
	const char *next;

	while ((size_t)(end - line) > head &&
	       (next = memmem(line + 1, (size_t)(end - line) - 1, LINE_HEAD, head)) != NULL)
		line = next;
	return audit_scan(l, line, (size_t)(end - line));
}

static bool last_record(struct audit_line *l, const char *text, size_t len)
{
	const char *end = memrchr(text, '\n', len);

	while (end != NULL) {
		const char *before = memrchr(text, '\n', (size_t)(end - text));

		if (record_before(l, before != NULL ? before + 1 : text, end))
			return true;
		end = before;
	}
	return false;
}

/* The last `len` bytes before `size`, all of them or fewer. */
static ssize_t read_end(int fd, char *text, size_t len, off_t size)
{
	size_t used = 0;

	while (used < len) {
		ssize_t n = pread(fd, text + used, len - used, size - (off_t)(len - used));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

static int look(int fd, size_t window, off_t size, uint8_t hash[AUDIT_HASH_SIZE], struct err *e)
{
	size_t len = size < (off_t)window ? (size_t)size : window;
	char *text = malloc(len);
	struct audit_line l;
	ssize_t n;
	int rc = 0;

	if (text == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	n = read_end(fd, text, len, size);
	if (n < 0)
		rc = err_sys(e, errno, "the audit log cannot be read");
	else if (last_record(&l, text, (size_t)n))
		rc = parse_hash(hash, l.hash);
	free(text);
	return rc;
}

int audit_tail(int fd, uint8_t hash[AUDIT_HASH_SIZE], struct err *e)
{
	struct stat st;
	int rc = 0;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "the audit log cannot be looked at");
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return 0;
	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]) && rc == 0; i++) {
		rc = look(fd, windows[i], st.st_size, hash, e);
		if (st.st_size <= (off_t)windows[i])
			break;
	}
	return rc;
}

/* ---- the noted one ---- */

/* Whether a record with this hash is there, looked for from the end on. */
static int look_for(int fd, off_t size, const char *hex, struct err *e)
{
	const size_t window = (size_t)16 << 10;
	char wanted[sizeof(LINE_HASH) + AUDIT_HEX + sizeof(LINE_END)];
	const size_t len = (size_t)snprintf(
	    wanted, sizeof(wanted), LINE_HASH "%.*s" LINE_END, (int)AUDIT_HEX, hex);
	char *text = malloc(window);
	int rc = 0;

	if (text == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	/* What two windows have parts of is whole in the next one. */
	for (off_t end = size; rc == 0 && end > 0; end -= (off_t)(window - len)) {
		ssize_t n = read_end(fd, text, end < (off_t)window ? (size_t)end : window, end);

		if (n < 0)
			rc = err_sys(e, errno, "the audit log cannot be read");
		else
			rc = memmem(text, (size_t)n, wanted, len) != NULL;
	}
	free(text);
	return rc;
}

int audit_tail_noted(int fd, int head, uint8_t hash[AUDIT_HASH_SIZE], bool *cut, struct err *e)
{
	uint8_t noted[AUDIT_HASH_SIZE];
	char hex[AUDIT_HEX];
	struct stat st;
	int rc = audit_tail(fd, hash, e), found;

	*cut = false;
	if (rc < 0 || head < 0 || !audit_head_get(head, noted))
		return rc;
	if (rc > 0) {
		if (memcmp(noted, hash, sizeof(noted)) == 0)
			return 1;
		/* An older one: its writer was killed before it could note the last one, or notes
		 * none. */
		if (fstat(fd, &st) != 0)
			return err_sys(e, errno, "the audit log cannot be looked at");
		put_hex(hex, noted);
		found = look_for(fd, st.st_size, hex, e);
		if (found != 0)
			return found;
		*cut = true;
	}
	memcpy(hash, noted, sizeof(noted));
	return rc;
}

/* ---- chains without an end ---- */

struct opens {
	struct audit_open *list;
	size_t n, max;
};

static void take_record(struct opens *o, const struct audit_line *l)
{
	size_t i = 0;

	while (i < o->n && o->list[i].writer != l->writer)
		i++;
	if (audit_scan_is(l, "end")) {
		if (i < o->n)
			o->list[i] = o->list[--o->n];
	} else if (i < o->max && parse_hash(o->list[i].hash, l->hash)) {
		o->list[i].writer = l->writer;
		o->list[i].seq = l->seq;
		o->n += i == o->n;
	}
}

/* The last `window` bytes of fd: *text is the caller's. 0: it has none, or is no file; *whole: that
 * is all of it. */
static int load_end(int fd, size_t window, char **text, size_t *len, bool *whole, struct err *e)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "the audit log cannot be looked at");
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return 0;
	*whole = st.st_size <= (off_t)window;
	*text = malloc(*whole ? (size_t)st.st_size : window);
	if (*text == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	n = read_end(fd, *text, *whole ? (size_t)st.st_size : window, st.st_size);
	if (n < 0) {
		free(*text);
		return err_sys(e, errno, "the audit log cannot be read");
	}
	*len = (size_t)n;
	return 1;
}

int audit_tail_open(int fd, struct audit_open *out, size_t max, struct err *e)
{
	struct opens o = {.list = out, .max = max};
	struct audit_line l;
	char *text;
	size_t n;
	bool whole;
	int rc = load_end(fd, 16 * AUDIT_RECORD_MAX, &text, &n, &whole, e);

	if (rc <= 0)
		return rc;
	/* The first line may not be whole, and is none then. */
	for (const char *at = text, *end; (end = memchr(at, '\n', (size_t)(text + n - at))) != NULL;
	     at = end + 1)
		if (record_before(&l, at, end))
			take_record(&o, &l);
	free(text);
	return (int)o.n;
}

/* ---- the last one of a writer ---- */

struct last {
	struct audit_open *of; /* the writer is given */
	char begin[40];        /* of each of its lines */
	size_t begin_len;
	bool found, torn;
};

/* What begins with a record's head and goes on to the next one, or to the line's end. */
static void see(struct last *last, const char *text, size_t len, bool ends)
{
	struct audit_line l;

	if (ends && audit_scan(&l, text, len)) {
		if (l.writer != last->of->writer || !audit_scan_whole(&l) ||
		    !parse_hash(last->of->hash, l.hash))
			return;
		last->of->seq = l.seq;
		last->found = true;
		last->torn = false;
	} else if (len >= last->begin_len && memcmp(text, last->begin, last->begin_len) == 0) {
		last->torn = true;
	}
}

static void see_line(struct last *last, const char *text, size_t len, bool ends)
{
	const size_t head = sizeof(LINE_HEAD) - 1;
	const char *next;

	while (len > head && (next = memmem(text + 1, len - 1, LINE_HEAD, head)) != NULL) {
		see(last, text, (size_t)(next - text), false);
		len -= (size_t)(next - text);
		text = next;
	}
	see(last, text, len, ends);
}

int audit_tail_of(int fd, uint64_t writer, struct audit_open *out, bool *torn, struct err *e)
{
	static const size_t looks[] = {AUDIT_RECORD_MAX, 64 * AUDIT_RECORD_MAX};
	struct audit_open of = {.writer = writer};
	struct last last = {.of = &of};
	bool whole = false;

	last.begin_len = (size_t)snprintf(
	    last.begin, sizeof(last.begin), LINE_HEAD "%llu" LINE_SEQ, (unsigned long long)writer);
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]) && !last.found && !whole; i++) {
		const char *at, *end;
		size_t len;
		char *text;
		int rc = load_end(fd, looks[i], &text, &len, &whole, e);

		if (rc <= 0)
			return rc;
		for (at = text; (end = memchr(at, '\n', (size_t)(text + len - at))) != NULL;
		     at = end + 1)
			see_line(&last, at, (size_t)(end - at), true);
		see_line(&last, at, (size_t)(text + len - at), false);
		free(text);
	}
	if (!last.found)
		return 0;
	*out = of;
	*torn = last.torn;
	return 1;
}

/* ---- the note ---- */

int audit_head_open(const char *path, struct err *e)
{
	int fd =
	    open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);

	return fd >= 0 ? fd : err_sys(e, errno, "cannot open %s", path);
}

int audit_head_get(int fd, uint8_t hash[AUDIT_HASH_SIZE])
{
	char text[AUDIT_HEX + 1];

	return pread(fd, text, sizeof(text), 0) == (ssize_t)sizeof(text) &&
	       text[AUDIT_HEX] == '\n' && parse_hash(hash, text);
}

void audit_head_put(int fd, const uint8_t hash[AUDIT_HASH_SIZE])
{
	char text[AUDIT_HEX + 1];

	put_hex(text, hash);
	text[AUDIT_HEX] = '\n';
	if (pwrite(fd, text, sizeof(text), 0) < 0)
		errno = 0;
}

/* ---- locks ---- */

static int lock(int fd, int how, short type)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET};
	int rc;

	do
		rc = fcntl(fd, how, &l);
	while (rc != 0 && errno == EINTR);
	return rc;
}

int audit_lock(int fd, struct err *e)
{
	return lock(fd, F_OFD_SETLKW, F_WRLCK) == 0
	           ? 0
	           : err_sys(e, errno, "the audit log cannot be locked");
}

void audit_unlock(int fd)
{
	(void)lock(fd, F_OFD_SETLK, F_UNLCK);
}

bool audit_lock_try(int fd)
{
	return lock(fd, F_OFD_SETLK, F_WRLCK) == 0;
}

bool audit_locked(int fd)
{
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}
