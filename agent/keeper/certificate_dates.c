/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/certificate_dates.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/renew_child.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/renew_frame.h"

#define PAUSE_MIN_NS NS_PER_S
#define PAUSE_MAX_NS (600 * NS_PER_S)

struct certificate_dates {
	struct renew_child *child;
	struct event *again;
	certificate_dates_known *known;
	void *arg;
	struct config *config;
	/* What is asked about. It is open from the beginning, if only as /dev/null, so that to ask
	 * needs no further descriptor, which there may not be. */
	int fd;
	bool asked;
	int64_t pause_ns;
	bool stopped;
	bool outdated; /* the child that runs reads another one */
};

static void plan(struct certificate_dates *d, int64_t pause_ns)
{
	struct timeval tv = duration_timeval(pause_ns);

	if (event_add(d->again, &tv) != 0)
		log_error("no memory for a timer: the certificate's dates are not known");
}

static void try_later(struct certificate_dates *d)
{
	if (d->stopped || !d->asked)
		return;
	d->pause_ns = d->pause_ns == 0 ? PAUSE_MIN_NS : d->pause_ns * 2;
	if (d->pause_ns > PAUSE_MAX_NS)
		d->pause_ns = PAUSE_MAX_NS;
	plan(d, d->pause_ns);
}

static void begin(struct certificate_dates *d)
{
	const struct renew_order o = {
	    .mode = "dates",
	    .fds = {d->fd, -1, -1, -1},
	    .first = RENEW_FRAME_DATES_MAX - 1,
	};
	struct err e;

	d->outdated = false;
	if (renew_child_start(d->child, d->config, &o, &e) == 0)
		return;
	log_error("the certificate's dates cannot be read: %s", e.message);
	try_later(d);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct certificate_dates *d = arg;

	(void)fd;
	(void)what;
	if (!d->stopped && d->asked && !renew_child_runs(d->child))
		begin(d);
}

static void on_done(
    const uint8_t *first, uint32_t first_len, const uint8_t *second, uint32_t second_len, void *arg)
{
	struct certificate_dates *d = arg;
	int64_t not_before, not_after;

	(void)second;
	(void)second_len;
	if (d->stopped)
		return;
	if (d->outdated) {
		plan(d, 0);
		return;
	}
	if (first == NULL || renew_dates_read(&not_before, &not_after, first, first_len) != 0) {
		log_warn("the dates of the certificate %s could not be read; it is tried again",
		    d->config->certificate);
		try_later(d);
		return;
	}
	d->asked = false;
	d->known(not_before, not_after, d->arg);
}

int certificate_dates_new(struct certificate_dates **out, struct event_base *base,
    const char *program, certificate_dates_known *known, void *arg, struct err *e)
{
	struct certificate_dates *d = calloc(1, sizeof(*d));
	int rc;

	if (d == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	d->known = known;
	d->arg = arg;
	d->again = evtimer_new(base, on_again, d);
	d->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (d->fd < 0)
		rc = err_sys(e, errno, "/dev/null");
	else if (d->again == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	else
		rc = renew_child_new(&d->child, base, program, on_done, d, e);
	if (rc == 0)
		*out = d;
	else
		certificate_dates_free(d);
	return rc;
}

void certificate_dates_free(struct certificate_dates *d)
{
	if (d == NULL)
		return;
	renew_child_free(d->child);
	if (d->again != NULL)
		event_free(d->again);
	if (d->fd >= 0)
		close(d->fd);
	config_unref(d->config);
	free(d);
}

void certificate_dates_ask(struct certificate_dates *d, struct config *c, int fd)
{
	struct config *old = d->config;

	d->config = config_ref(c);
	config_unref(old);
	d->stopped = false;
	d->pause_ns = 0;
	/* Before anything can fail: what a child reads is of the certificate before. */
	d->outdated = true;
	d->asked = dup3(fd, d->fd, O_CLOEXEC) >= 0;
	if (!d->asked)
		log_error("the certificate's dates cannot be read: %s", strerror(errno));
	if (renew_child_runs(d->child))
		renew_child_kill(d->child);
	else if (d->asked)
		begin(d);
}

void certificate_dates_stop(struct certificate_dates *d)
{
	d->stopped = true;
	event_del(d->again);
	renew_child_kill(d->child);
}

void certificate_dates_resume(struct certificate_dates *d)
{
	d->stopped = false;
	/* One that was killed and is not reaped yet counts as a failure. */
	if (d->asked)
		plan(d, 0);
}

bool certificate_dates_reaped(struct certificate_dates *d, pid_t pid, int status)
{
	return renew_child_reaped(d->child, pid, status);
}
