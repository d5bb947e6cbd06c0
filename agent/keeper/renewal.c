/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/renewal.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/certificate_dates.h"
#include "agent/keeper/kit_files.h"
#include "agent/keeper/renew_child.h"
#include "agent/keeper/revocations.h"
#include "common/duration.h"
#include "common/file_put.h"
#include "common/log.h"
#include "common/renew_frame.h"

#define PAUSE_MIN_NS NS_PER_S
#define PAUSE_MAX_NS (600 * NS_PER_S)
#define LOOK_NS      (60 * NS_PER_S) /* at the clock, at least so often */
#define SPREAD_NS    (30 * NS_PER_S) /* of what is overdue at the start: others may be, too */
#define REMIND_NS    (6 * 3600 * NS_PER_S)
/* After the name of the key's own file: the key and the request of the next one, while there is no
 * answer. */
#define REQUEST_SUFFIX ".telex-request"

_Static_assert(RENEW_FRAME_LIST_MAX == REVOCATION_LIST_MAX, "any list comes through the pipe");

/* One of the two things that telex-renew does. */
struct task {
	struct renew_child *child;
	unsigned failures;    /* in a row */
	int64_t not_until_ns; /* monotonic */
};

/* How bad it is that the certificate is not renewed. */
enum stage { STAGE_GOOD, STAGE_DUE, STAGE_LATE, STAGE_EXPIRED };

struct renewal {
	struct event_base *base;
	char *program;
	const struct renewal_ops *ops;
	void *arg;
	struct config *config;
	int64_t not_before, not_after; /* 0: not known */
	double part;                   /* of the jitter: of this certificate */
	struct task certificate, list;
	struct certificate_dates *dates;
	bool requesting; /* the child makes the request of the next certificate */
	bool written;    /* the files are newer than what is in use */
	bool stopped;
	struct event *tick;
	enum stage told;
	int64_t told_ns;
};

/* ---- arithmetic ---- */

/* 0 to 1 */
static double random_part(void)
{
	uint32_t n = 0;

	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != (ssize_t)sizeof(n))
		n = (uint32_t)clock_monotonic_ns() * 2654435761u;
	return (double)n / (double)UINT32_MAX;
}

int64_t renewal_pause_ns(unsigned failures, int64_t left_s, double part)
{
	int64_t pause = PAUSE_MIN_NS, most = PAUSE_MAX_NS;

	for (unsigned i = 1; i < failures && pause < PAUSE_MAX_NS; i++)
		pause *= 2;
	if (left_s > 0 && left_s < PAUSE_MAX_NS / NS_PER_S * 10)
		most = left_s * NS_PER_S / 10;
	if (most < PAUSE_MIN_NS)
		most = PAUSE_MIN_NS;
	if (pause > most)
		pause = most;
	return pause + (int64_t)((double)pause * (part - 0.5) / 5);
}

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

static int64_t due_s(const struct renewal *r)
{
	return renew_due(r->not_before, r->not_after, r->part);
}

static const char *date(char out[32], int64_t epoch)
{
	time_t when = (time_t)epoch;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL || strftime(out, 32, "%F %T UTC", &tm) == 0)
		snprintf(out, 32, "an unknown time");
	return out;
}

/* ---- the timer ---- */

static int64_t until(const struct task *t, int64_t due_in_ns, int64_t now_ns)
{
	int64_t pause = t->not_until_ns - now_ns;

	if (renew_child_runs(t->child))
		return LOOK_NS;
	return pause > due_in_ns ? pause : due_in_ns;
}

static void plan(struct renewal *r)
{
	int64_t now_ns = clock_monotonic_ns(), wait = LOOK_NS, next;
	struct timeval tv;

	if (r->stopped)
		return;
	if (r->config->renew_from != NULL) {
		next = until(&r->list, 0, now_ns);
		wait = next < wait ? next : wait;
	}
	if (r->config->renew_from != NULL && r->not_after != 0) {
		int64_t in_s = due_s(r) - now_s();

		next = until(
		    &r->certificate, in_s > LOOK_NS / NS_PER_S ? LOOK_NS : in_s * NS_PER_S, now_ns);
		wait = next < wait ? next : wait;
	}
	tv = duration_timeval(wait > 20 * NS_PER_MS ? wait : 20 * NS_PER_MS);
	if (event_add(r->tick, &tv) != 0)
		log_error("no memory for a timer: the certificate is not renewed");
}

static void try_later(struct renewal *r, struct task *t)
{
	int64_t left = r->not_after == 0 ? 0 : r->not_after - now_s();

	t->failures++;
	t->not_until_ns = clock_monotonic_ns() + renewal_pause_ns(t->failures, left, random_part());
	plan(r);
}

/* ---- words ---- */

static enum stage stage_of(const struct renewal *r)
{
	int64_t now = now_s(), life = r->not_after - r->not_before;

	if (r->not_after == 0 || now < due_s(r))
		return STAGE_GOOD;
	if (now > r->not_after)
		return STAGE_EXPIRED;
	return r->not_after - now < life / 10 ? STAGE_LATE : STAGE_DUE;
}

static void tell(const struct renewal *r, enum stage stage)
{
	const char *way = r->config->renew_from != NULL
	                      ? "it is tried again and again"
	                      : "no renew_from in the configuration says where to renew it";
	char end[32];

	date(end, r->not_after);
	if (stage == STAGE_EXPIRED)
		log_error("the agent's certificate %s expired on %s, and every client refuses it; "
		          "an expired one is not renewed: enroll the agent anew (telex cert enroll "
		          "TOKEN) and reload",
		    r->config->certificate, end);
	else
		log_at(stage == STAGE_LATE ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
		    "the agent's certificate %s is valid until %s and is not renewed yet; %s",
		    r->config->certificate, end, way);
}

/* A renewal under way is given the time to succeed before anybody is alarmed. */
static void remind(struct renewal *r)
{
	enum stage stage = stage_of(r);
	int64_t now = clock_monotonic_ns();

	if (stage == STAGE_DUE && r->config->renew_from != NULL && r->certificate.failures == 0)
		return;
	if (stage == r->told && (stage == STAGE_GOOD || now - r->told_ns < REMIND_NS))
		return;
	r->told = stage;
	r->told_ns = now;
	if (stage != STAGE_GOOD)
		tell(r, stage);
}

/* ---- the certificate ---- */

static int open_file(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static void start(struct renewal *r, struct task *t, struct renew_order *o)
{
	struct err e;

	o->fds[RENEW_FD_CA - RENEW_FD_CERTIFICATE] = open_file(r->config->ca);
	if (renew_child_start(t->child, r->config, o, &e) != 0) {
		log_error("%s cannot be started: %s", r->program, e.message);
		try_later(r, t);
	}
	for (int i = 0; i < RENEW_FDS; i++)
		if (o->fds[i] >= 0)
			close(o->fds[i]);
}

static int request_path(const struct renewal *r, char path[PATH_MAX], struct err *e)
{
	return file_beside(path, r->config->key, REQUEST_SUFFIX, e);
}

static void forget_request(const struct renewal *r)
{
	char path[PATH_MAX];

	if (request_path(r, path, NULL) == 0)
		(void)unlink(path);
}

/* The one that waits for its answer, or with -1 a new one is to be made. */
static int open_request(const struct renewal *r, int *fd, struct err *e)
{
	char path[PATH_MAX];
	int rc = request_path(r, path, e);

	if (rc != 0)
		return rc;
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	if (*fd < 0 && errno != ENOENT)
		return err_sys(e, errno, "%s", path);
	return *fd < 0 ? 0 : kit_files_check_key(*fd, path, e);
}

/* It is kept before anybody is asked with it: whatever is cut off then, the next attempt gets the
 * same certificate. */
static void on_request(struct renewal *r, const uint8_t *text, uint32_t len)
{
	char path[PATH_MAX];
	struct err e;
	int rc = len == 0 ? err_set(&e, TX_ESTATE, "no key could be made for it")
	                  : request_path(r, path, &e);

	if (rc == 0)
		rc = file_put(path, text, len, 0600, &e);
	if (rc == 0) {
		plan(r);
		return;
	}
	log_error("the agent's certificate cannot be renewed: %s", e.message);
	try_later(r, &r->certificate);
}

static void begin_certificate(struct renewal *r)
{
	struct renew_order o = {
	    .mode = "certificate",
	    .fds = {-1, -1, -1, -1},
	    .first = RENEW_FRAME_PAIR_MAX,
	    .second = RENEW_FRAME_PAIR_MAX,
	};
	struct err e;
	int rc = file_open_pair(r->config->certificate, r->config->key, o.fds, &e);

	if (rc == 0)
		rc = kit_files_check_key(o.fds[1], r->config->key, &e);
	if (rc == 0)
		rc = open_request(r, &o.fds[RENEW_FD_REQUEST - RENEW_FD_CERTIFICATE], &e);
	if (rc != 0) {
		log_error("%s", e.message);
		for (int i = 0; i < RENEW_FDS; i++)
			if (o.fds[i] >= 0)
				close(o.fds[i]);
		try_later(r, &r->certificate);
		return;
	}
	r->requesting = o.fds[RENEW_FD_REQUEST - RENEW_FD_CERTIFICATE] < 0;
	if (r->requesting)
		o.mode = "request";
	else
		log_info("the agent's certificate is renewed from %s", r->config->renew_from);
	start(r, &r->certificate, &o);
}

static void on_certificate(const uint8_t *certificate, uint32_t certificate_len, const uint8_t *key,
    uint32_t key_len, void *arg)
{
	struct renewal *r = arg;
	char end[32];
	struct err e;

	if (r->requesting) {
		on_request(r, certificate, certificate_len);
		return;
	}
	if (certificate_len == 0 || key_len == 0) {
		/* The answer is there, and it is no. */
		if (certificate != NULL && certificate_len == 0 && key_len == 0)
			forget_request(r);
		try_later(r, &r->certificate);
		log_warn("the agent's certificate could not be renewed (%u times now); it is valid "
		         "until %s",
		    r->certificate.failures, date(end, r->not_after));
		return;
	}
	if (file_put_pair(r->config->certificate, certificate, certificate_len, r->config->key, key,
	        key_len, &e) != 0) {
		log_error("the new certificate is lost: %s", e.message);
		try_later(r, &r->certificate);
		return;
	}
	forget_request(r);
	r->written = true;
	/* Until it is known whether it serves; either answer moves it. */
	r->certificate.not_until_ns = clock_monotonic_ns() + PAUSE_MAX_NS;
	plan(r);
	r->ops->renewed(r->arg);
}

/* ---- the list ---- */

static void begin_list(struct renewal *r)
{
	struct renew_order o = {
	    .mode = "revocations",
	    .fds = {-1, -1, -1, -1},
	    .first = RENEW_FRAME_LIST_MAX,
	    .second = RENEW_FRAME_ABOUT_MAX - 1,
	};

	(void)revocations_open(&o.fds[0], r->config, NULL);

	start(r, &r->list, &o);
}

static void on_list(
    const uint8_t *pem, uint32_t len, const uint8_t *about, uint32_t about_len, void *arg)
{
	struct revocation_record list = {.pem = (const char *)pem, .len = len};
	struct renewal *r = arg;

	if (pem == NULL || (len > 0 && renew_about_read(&list, about, about_len) != 0)) {
		try_later(r, &r->list);
		if (r->list.failures == 1 || r->list.failures % 16 == 0)
			log_warn("the revocation list could not be fetched from %s (%u times now)",
			    r->config->renew_from, r->list.failures);
		return;
	}
	r->list.failures = 0;
	r->list.not_until_ns =
	    clock_monotonic_ns() +
	    (int64_t)((double)r->config->revocations_interval_ns * (0.9 + 0.2 * random_part()));
	plan(r);
	if (len > 0)
		r->ops->revocations(&list, r->arg);
}

/* ---- its life ---- */

static bool is_ready(const struct task *t)
{
	return !renew_child_runs(t->child) && clock_monotonic_ns() >= t->not_until_ns;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct renewal *r = arg;

	(void)fd;
	(void)what;
	if (r->stopped)
		return;
	remind(r);
	if (r->config->renew_from != NULL) {
		if (is_ready(&r->list))
			begin_list(r);
		if (r->not_after != 0 && now_s() >= due_s(r) && is_ready(&r->certificate)) {
			if (r->written)
				r->ops->renewed(r->arg);
			else
				begin_certificate(r);
		}
	}
	plan(r);
}

static void on_dates(int64_t not_before, int64_t not_after, void *arg)
{
	struct renewal *r = arg;
	int64_t now = now_s(), spread = SPREAD_NS;

	if (not_before == r->not_before && not_after == r->not_after) {
		plan(r);
		return;
	}
	r->not_before = not_before;
	r->not_after = not_after;
	r->part = random_part();
	r->certificate.failures = 0;
	r->certificate.not_until_ns = 0;
	if (not_after > now && (not_after - now) * NS_PER_S / 20 < spread)
		spread = (not_after - now) * NS_PER_S / 20;
	if (now >= due_s(r))
		r->certificate.not_until_ns =
		    clock_monotonic_ns() + (int64_t)((double)spread * random_part());
	remind(r);
	plan(r);
}

int renewal_new(struct renewal **out, struct event_base *base, const char *program,
    const struct renewal_ops *ops, void *arg, struct err *e)
{
	struct renewal *r = calloc(1, sizeof(*r));
	int rc = TX_ENOMEM;

	if (r == NULL)
		return err_set(e, rc, "out of memory");
	r->base = base;
	r->ops = ops;
	r->arg = arg;
	r->stopped = true; /* until it is configured */
	r->program = strdup(program);
	r->tick = evtimer_new(base, on_tick, r);
	rc = r->program == NULL || r->tick == NULL ? err_set(e, rc, "out of memory") : 0;
	if (rc == 0)
		rc = renew_child_new(&r->certificate.child, base, r->program, on_certificate, r, e);
	if (rc == 0)
		rc = renew_child_new(&r->list.child, base, r->program, on_list, r, e);
	if (rc == 0)
		rc = certificate_dates_new(&r->dates, base, r->program, on_dates, r, e);
	if (rc == 0)
		*out = r;
	else
		renewal_free(r);
	return rc;
}

void renewal_free(struct renewal *r)
{
	if (r == NULL)
		return;
	renew_child_free(r->certificate.child);
	renew_child_free(r->list.child);
	certificate_dates_free(r->dates);
	if (r->tick != NULL)
		event_free(r->tick);
	config_unref(r->config);
	free(r->program);
	free(r);
}

static bool same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

void renewal_configure(struct renewal *r, struct config *c)
{
	struct config *old = r->config;

	if (old == NULL || !same(old->renew_from, c->renew_from)) {
		r->certificate.failures = r->list.failures = 0;
		r->certificate.not_until_ns = r->list.not_until_ns = 0;
	}
	r->config = config_ref(c);
	config_unref(old);
	r->stopped = false;
	plan(r);
}

void renewal_look(struct renewal *r, int certificate_fd)
{
	r->written = false;
	/* Those of before count until these are known. */
	certificate_dates_ask(r->dates, r->config, certificate_fd);
	plan(r);
}

void renewal_not_loaded(struct renewal *r)
{
	if (!r->written)
		return;
	log_error("the agent's new certificate is in its files and does not serve yet");
	try_later(r, &r->certificate);
}

void renewal_stop(struct renewal *r)
{
	if (r == NULL)
		return;
	r->stopped = true;
	event_del(r->tick);
	renew_child_kill(r->certificate.child);
	renew_child_kill(r->list.child);
	certificate_dates_stop(r->dates);
}

void renewal_resume(struct renewal *r)
{
	r->stopped = false;
	certificate_dates_resume(r->dates);
	plan(r);
}

bool renewal_reaped(struct renewal *r, pid_t pid, int status)
{
	return r != NULL && (renew_child_reaped(r->certificate.child, pid, status) ||
	                        renew_child_reaped(r->list.child, pid, status) ||
	                        certificate_dates_reaped(r->dates, pid, status));
}
