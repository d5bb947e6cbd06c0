/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex-ca: the only process of an agent that reads the key of an authority. It is started by
 * telexd alone, in the authority's folder and as the owner of that, with its end of their link as
 * descriptor 3 (common/ca_control.h); it answers workers on sockets that telexd hands it, and ends
 * when the link does.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/ca/authority.h"
#include "agent/ca/client.h"
#include "agent/ca/sandbox.h"
#include "certs/key.h"
#include "common/ca_control.h"
#include "common/duration.h"
#include "common/helper_process.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tls.h"

struct program {
	struct event_base *base;
	struct event *control;
	struct event *refusals_due; /* from CA_SETUP on */
	struct authority au;
	struct clients *clients; /* from CA_SETUP on */
	struct confine_report confinement;
	int status;
};

static void stop(struct program *p, int status)
{
	p->status = status;
	event_base_loopbreak(p->base);
}

static void fail(struct program *p, const struct err *why)
{
	struct ca_control m = {.type = CA_FAILED};

	log_error("%s", why->message);
	snprintf(m.text, sizeof(m.text), "%.*s", (int)sizeof(m.text) - 1, why->message);
	(void)ca_control_send(CA_CONTROL_FD, &m, -1);
	stop(p, EXIT_FAILURE);
}

/* ---- setting up ---- */

static void on_refusals_due(evutil_socket_t fd, short what, void *arg)
{
	struct program *p = arg;

	(void)fd;
	(void)what;
	audit_budget_tell(p->au.refusals, clock_monotonic_ns());
}

/* Anybody may be refused, as often as they like: so many are written one by one. */
static int count_refusals(struct program *p, const struct ca_control *m, struct err *e)
{
	const struct audit_budget_limits limits = {.per_source = m->audit_per_source,
	    .total = m->audit_total,
	    .interval_ns = m->audit_interval_ns > 0 ? m->audit_interval_ns
	                                            : AUDIT_BUDGET_INTERVAL_S * NS_PER_S};
	const struct timeval interval = duration_timeval(limits.interval_ns);

	p->refusals_due = event_new(p->base, -1, EV_PERSIST, on_refusals_due, p);
	if (p->refusals_due == NULL || event_add(p->refusals_due, &interval) != 0)
		return err_set(e, TX_ENOMEM, "out of memory");
	p->au.refusals = audit_budget_new(p->au.audit, &limits, clock_monotonic_ns());
	return 0;
}

static int open_audit(struct program *p, const struct ca_control *m, struct err *e)
{
	const struct audit_options o = {
	    .writer = (uint64_t)clock_realtime_ns() >> 11,
	    .program = "ca",
	    .fsync = m->audit_fsync != 0,
	    .syslog = m->audit_syslog != 0,
	    .drop = m->audit_drop != 0,
	    .shared = true, /* with `telex cert` */
	    .head_path = CA_AUDIT_FILE AUDIT_HEAD_SUFFIX,
	};
	int fd = open(CA_AUDIT_FILE,
	    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600);
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", CA_AUDIT_FILE);
	rc = audit_new(&p->au.audit, fd, &o, e);
	if (rc != 0)
		close(fd);
	return rc == 0 ? count_refusals(p, m, e) : rc;
}

/* passphrase: an open file, or -1. */
static int load(struct program *p, int passphrase, struct err *e)
{
	char text[KEY_PASSPHRASE_SIZE];
	struct key_passphrase from = {.get = key_passphrase_text, .arg = text};
	int rc;

	if (passphrase < 0)
		return ca_load(&p->au.ca, ".", e);
	rc = key_passphrase_fd(passphrase, "the passphrase file", text, sizeof(text), e);
	if (rc == 0)
		rc = ca_load_with(&p->au.ca, ".", &from, e);
	explicit_bzero(text, sizeof(text));
	return rc;
}

static void tell_confinement(const struct confine_report *r)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].in_force)
			log_debug("locked in by %s (%s)", r->list[i].name, r->list[i].note);
		else
			log_info("not locked in by %s: %s", r->list[i].name, r->list[i].note);
}

static void set_up(struct program *p, const struct ca_control *m, int passphrase)
{
	struct ca_control ready = {.type = CA_READY};
	struct err e;
	int rc;

	log_open("ca", (enum log_level)m->log_level, m->log_json != 0, STDERR_FILENO);
	rc = load(p, passphrase, &e);
	if (rc == 0)
		rc = ledger_open(&p->au.ledger, ".", &e);
	if (rc == 0)
		rc = open_audit(p, m, &e);
	if (passphrase >= 0)
		close(passphrase);
	if (rc == 0)
		rc = ca_sandbox_close(&p->confinement, &e);
	if (rc != 0) {
		fail(p, &e);
		return;
	}
	tell_confinement(&p->confinement);
	p->clients = clients_new(p->base, &p->au);
	(void)ca_control_send(CA_CONTROL_FD, &ready, -1);
	log_info("the authority \"%s\" answers", ca_name(p->au.ca));
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
	struct program *p = arg;
	struct ca_control m;
	int got = -1;
	int rc = ca_control_receive(fd, &m, &got);

	(void)what;
	if (rc == TX_EAGAIN)
		return;
	if (rc == TX_ECLOSED) {
		stop(p, p->status);
		return;
	}
	if (rc == 0 && m.type == CA_SETUP && p->clients == NULL) {
		set_up(p, &m, got);
	} else if (rc == 0 && m.type == CA_CLIENT && p->clients != NULL && got >= 0) {
		clients_add(p->clients, got);
	} else {
		log_error("the link to the keeper is broken: %s", err_name(rc));
		stop(p, EXIT_FAILURE);
	}
}

/* ---- the program ---- */

static void clean_up(struct program *p)
{
	clients_free(p->clients);
	audit_budget_tell(p->au.refusals, clock_monotonic_ns());
	audit_budget_free(p->au.refusals);
	if (p->refusals_due != NULL)
		event_free(p->refusals_due);
	audit_free(p->au.audit);
	ledger_close(p->au.ledger);
	ca_free(p->au.ca);
	free(p->au.list);
	event_free(p->control);
	event_base_free(p->base);
}

int main(void)
{
	struct program p = {.status = EXIT_SUCCESS};
	struct err e;

	if (!helper_process_has_link(CA_CONTROL_FD, SOCK_SEQPACKET)) {
		fputs("telex-ca is a part of telexd, which starts it; it is not a command.\n",
		    stderr);
		return 2;
	}
	(void)prctl(PR_SET_NAME, "telex-ca");
	umask(077);
	helper_process_ignore_signals();
	log_open("ca", LOG_LEVEL_INFO, false, STDERR_FILENO);
	p.base = event_base_new();
	if (p.base == NULL)
		abort();
	p.control = event_new(p.base, CA_CONTROL_FD, EV_READ | EV_PERSIST, on_control, &p);
	if (p.control == NULL)
		abort();
	event_add(p.control, NULL);
	if (ca_sandbox_enter(&p.confinement, &e) != 0)
		fail(&p, &e);
	else
		event_base_dispatch(p.base);
	clean_up(&p);
	return p.status;
}
