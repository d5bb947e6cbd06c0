/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/peer_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

void peer_files_ask(struct peer *p, uint64_t seq, const char *owner, const char *user, int key)
{
	struct km_files m = {.watch = key >= 0};

	snprintf(m.owner, sizeof(m.owner), "%s", owner);
	snprintf(m.user, sizeof(m.user), "%s", user);
	if (key >= 0)
		memset(m.key, key, sizeof(m.key));
	peer_send(p, KM_FILES, seq, &m, -1);
}

static void read_text(struct peer_files *h)
{
	size_t n = 0;

	while (n < 3 || strcmp(h->text + n - 3, "\n.\n") != 0) {
		struct pollfd p = {.fd = h->fd, .events = POLLIN};
		ssize_t got;

		if (poll(&p, 1, RIG_DEADLINE_MS) != 1)
			rig_fail("telex-files says nothing");
		got = recv(h->fd, h->text + n, sizeof(h->text) - 1 - n, 0);
		if (got <= 0)
			rig_fail("telex-files is gone");
		n += (size_t)got;
		h->text[n] = '\0';
	}
}

void peer_files_take(struct peer *p, struct peer_files *h)
{
	union km_any m;

	memset(h, 0, sizeof(*h));
	do
		peer_recv(p, &m, &h->fd);
	while (m.hdr.type == KM_DRAIN);
	if (m.hdr.type == KM_REFUSED)
		fail_msg("refused: why %u, %s", m.refused.why, m.refused.text);
	assert_int_equal(m.hdr.type, KM_FILES_REPLY);
	assert_true(h->fd >= 0);
	h->pid = (pid_t)m.files_reply.pid;
	memcpy(h->home, m.files_reply.home, sizeof(h->home));
	read_text(h);
}

void peer_files_start(
    struct peer *p, struct peer_files *h, const char *owner, const char *user, int key)
{
	peer_files_ask(p, 5, owner, user, key);
	peer_files_take(p, h);
}

void peer_files_assert_says(const struct peer_files *h, const char *line)
{
	if (strstr(h->text, line) == NULL) {
		print_error("wanted: %s\ngot:\n%s", line, h->text);
		fail();
	}
}

void peer_files_assert_refused(struct peer *p, uint32_t why)
{
	union km_any m;

	peer_expect(p, KM_REFUSED, &m);
	assert_int_equal(m.refused.why, why);
	assert_true(m.refused.text[0] != '\0');
}

bool peer_files_is_gone(void *arg)
{
	const struct peer_files *h = arg;

	return kill(h->pid, 0) != 0 && errno == ESRCH;
}

bool peer_files_is_closed(void *arg)
{
	const struct peer_files *h = arg;
	char byte;

	return recv(h->fd, &byte, 1, MSG_DONTWAIT) == 0;
}

bool peer_files_recorded(const struct rig *r, const char *words)
{
	static char text[1 << 16];
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/state/exec.log", r->dir);
	f = fopen(path, "re");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, words) != NULL;
}
