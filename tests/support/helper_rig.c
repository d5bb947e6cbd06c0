/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/helper_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/files_frame.h"

static struct helper_rig helpers[HELPER_RIGS];
static unsigned n_helpers;

void helper_rigs_begin(void)
{
	n_helpers = 0;
}

void helper_rigs_end(void)
{
	for (unsigned i = 0; i < n_helpers; i++)
		if (helpers[i].fd >= 0)
			close(helpers[i].fd);
	n_helpers = 0;
}

/* ---- the keeper's side ---- */

bool helper_asked(struct asker *f, union km_any *m)
{
	worker_rig_settle(&f->rig);
	return fake_keeper_take(f->keeper, KM_FILES, m, NULL);
}

void helper_not_asked(struct asker *f)
{
	worker_rig_settle(&f->rig);
	assert_int_equal(fake_keeper_count(f->keeper, KM_FILES), 0);
}

/* Answers the keeper's next question with a new one, for this user. */
struct helper_rig *helper_give(struct asker *f, const char *user)
{
	struct km_files_reply reply = {.pid = 4711, .home = "/home/alice"};
	struct helper_rig *h = &helpers[n_helpers];
	union km_any m;
	int pair[2];

	assert_true(n_helpers++ < HELPER_RIGS);
	assert_true(helper_asked(f, &m));
	assert_string_equal(m.files.owner, RIG_USER);
	assert_string_equal(m.files.user, user);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	h->fd = pair[0];
	h->asked = m.files;
	h->len = 0;
	fake_keeper_send(f->keeper, KM_FILES_REPLY, m.hdr.seq, &reply, pair[1]);
	worker_rig_settle(&f->rig);
	close(pair[1]);
	return h;
}

/* ---- the helper's side ---- */

void helper_frame(
    struct asker *f, struct helper_rig *h, uint32_t type, const void *body, size_t len)
{
	const struct files_frame head = {(uint32_t)len, type};
	const uint8_t *at = (const uint8_t *)&head;
	size_t left = sizeof(head);

	for (int part = 0; part < 2; part++) {
		while (left > 0) {
			ssize_t n = send(h->fd, at, left, MSG_NOSIGNAL | MSG_DONTWAIT);

			if (n < 0 && errno == EAGAIN) {
				worker_rig_settle(&f->rig);
				continue;
			}
			assert_true(n > 0);
			at += n;
			left -= (size_t)n;
		}
		at = body;
		left = len;
	}
}

static void drop(struct helper_rig *h, size_t n)
{
	memmove(h->in, h->in + n, h->len - n);
	h->len -= n;
}

/* The next frame's type and body; 0: nothing comes; -1: the worker has closed. */
int helper_next(struct asker *f, struct helper_rig *h, uint8_t *body, size_t size, size_t *len)
{
	struct files_frame head;

	for (int i = 0; i < 100; i++) {
		ssize_t n;

		if (h->len >= sizeof(head)) {
			memcpy(&head, h->in, sizeof(head));
			if (h->len >= sizeof(head) + head.length) {
				assert_true(head.length <= size);
				memcpy(body, h->in + sizeof(head), head.length);
				*len = head.length;
				drop(h, sizeof(head) + head.length);
				return (int)head.type;
			}
		}
		worker_rig_settle(&f->rig);
		n = recv(h->fd, h->in + h->len, sizeof(h->in) - h->len, MSG_DONTWAIT);
		if (n == 0)
			return -1;
		if (n > 0)
			h->len += (size_t)n;
		else if (i > 2)
			return 0;
	}
	return 0;
}

void helper_expect(struct asker *f, struct helper_rig *h, int type)
{
	uint8_t body[65536];
	size_t len;

	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), type);
}

Telex__Internal__V1__FilesSetup *helper_expect_setup(struct asker *f, struct helper_rig *h)
{
	Telex__Internal__V1__FilesSetup *m;
	uint8_t body[65536];
	size_t len = 0;

	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_SETUP);
	m = telex__internal__v1__files_setup__unpack(NULL, len, body);
	assert_non_null(m);
	return m;
}

void helper_ready(struct asker *f, struct helper_rig *h)
{
	Telex__Internal__V1__FilesReady m = TELEX__INTERNAL__V1__FILES_READY__INIT;
	Telex__V1__Confinement c = TELEX__V1__CONFINEMENT__INIT, *list[] = {&c};
	uint8_t body[256];

	c.name = (char *)(uintptr_t) "landlock";
	c.in_force = true;
	c.note = (char *)(uintptr_t) "version 1";
	m.confinements = list;
	m.n_confinements = 1;
	telex__internal__v1__files_setup__free_unpacked(helper_expect_setup(f, h), NULL);
	helper_frame(f, h, FILES_READY, body, telex__internal__v1__files_ready__pack(&m, body));
	worker_rig_settle(&f->rig);
}

/* One that answers from now on. */
struct helper_rig *helper_give_ready(struct asker *f, const char *user)
{
	struct helper_rig *h = helper_give(f, user);

	helper_ready(f, h);
	return h;
}

void helper_expect_call(struct asker *f, struct helper_rig *h, const char *method, uint32_t role)
{
	Telex__Internal__V1__FilesCall *m;
	uint8_t body[256];
	size_t len = 0;

	assert_int_equal(helper_next(f, h, body, sizeof(body), &len), FILES_CALL);
	m = telex__internal__v1__files_call__unpack(NULL, len, body);
	assert_non_null(m);
	assert_string_equal(m->method, method);
	assert_int_equal(m->role, role);
	telex__internal__v1__files_call__free_unpacked(m, NULL);
}

void helper_status(struct asker *f, struct helper_rig *h, uint32_t code, const char *reason)
{
	Telex__Internal__V1__FilesStatus m = TELEX__INTERNAL__V1__FILES_STATUS__INIT;
	Telex__Internal__V1__FilesStatus__MetadataEntry e =
	    TELEX__INTERNAL__V1__FILES_STATUS__METADATA_ENTRY__INIT;
	Telex__Internal__V1__FilesStatus__MetadataEntry *list[] = {&e};
	uint8_t body[512];

	m.code = code;
	m.reason = (char *)(uintptr_t)reason;
	m.message = (char *)(uintptr_t) "because";
	e.key = (char *)(uintptr_t) "path";
	e.value = (char *)(uintptr_t) "/x";
	if (code != 0) {
		m.metadata = list;
		m.n_metadata = 1;
	}
	helper_frame(f, h, FILES_STATUS, body, telex__internal__v1__files_status__pack(&m, body));
	worker_rig_settle(&f->rig);
}

void helper_hang_up(struct asker *f, struct helper_rig *h)
{
	close(h->fd);
	h->fd = -1;
	worker_rig_settle(&f->rig);
}
