/* SPDX-License-Identifier: Apache-2.0 */
/* How a keeper that serves changes: another configuration (reload), another program (upgrade). */
#include <stdint.h>
#include <unistd.h>

#include "agent/keeper/ca_proc.h"
#include "agent/keeper/exec_log.h"
#include "agent/keeper/files_program.h"
#include "agent/keeper/job.h"
#include "agent/keeper/job_save.h"
#include "agent/keeper/keeper_internal.h"
#include "agent/keeper/list_check.h"
#include "agent/keeper/notify.h"
#include "agent/keeper/reload.h"
#include "agent/keeper/renewal.h"
#include "agent/keeper/revocations.h"
#include "agent/keeper/shutdown.h"
#include "agent/keeper/start.h"
#include "agent/keeper/watchers.h"
#include "agent/keeper/workers.h"
#include "common/log.h"

void keeper_publish(struct keeper *k)
{
	struct err e;

	if (listeners_publish(k->listeners, k->self.state_dir, &e) != 0)
		log_warn("cannot publish the addresses: %s", e.message);
	else
		k->published = true;
}

/* ---- reload ---- */

/* What the parts have of the configuration, now and after each reload. */
static void apply(struct keeper *k)
{
	const struct config *c = k->config;

	log_open("keeper", c->log_level, c->log_json, STDERR_FILENO);
	k->env.ceiling = &c->ceiling;
	starter_set_ceiling(k->env.starter, &c->ceiling);
	jobs_set_max(k->env.jobs, c->max_processes);
	starter_set_sizes(k->env.starter, c->output_buffer, c->max_output_buffer, c->max_spool);
	shutdown_set_grace(k->shutdown, c->shutdown_grace_ns);
	ca_proc_set(k->ca, k->config);
	list_check_set(k->env.lists, k->config);
	files_program_set(k->files, k->config);
	watchers_renewed(k->env.watchers);
}

/* The configuration is the one that was in force. */
static void certificate_serves(struct keeper *k)
{
	keeper_follow_certificate(k);
	exec_log_event(k->env.exec_log, "reload", k->config->certificate);
	log_info("reloaded: %u workers serve with the new certificate", k->config->workers);
}

void keeper_renewed(struct config *c, struct listeners *ls, void *arg)
{
	struct keeper *k = arg;
	struct config *old = k->config;
	struct listeners *old_ls = k->listeners;

	if (c == old) {
		certificate_serves(k);
		return;
	}
	k->config = config_ref(c);
	k->listeners = listeners_ref(ls);
	apply(k);
	keeper_publish(k);
	config_unref(old);
	listeners_unref(old_ls);
	keeper_follow_certificate(k);
	exec_log_event(k->env.exec_log, "reload", c->file);
	log_info("reloaded: %u workers serve with the new configuration", c->workers);
	notify_send("READY=1");
}

void keeper_not_renewed(const char *why, void *arg)
{
	struct keeper *k = arg;
	struct err e;

	/* The files stay open anew: they were renamed perhaps. */
	if (exec_log_reopen(k->env.exec_log, k->config, &e) != 0)
		log_error("%s", e.message);
	log_error("not reloaded: %s; the configuration that was in force stays", why);
	renewal_not_loaded(k->renewal);
	notify_send("READY=1");
}

void keeper_reload(struct keeper *k)
{
	struct listeners *ls = NULL;
	struct config *c = NULL;
	struct err e = {0};
	int rc;

	/* After an upgrade it may be what is needed to come to serve. */
	k->reload_wanted = !k->serving && !k->upgraded;
	if (k->reload_wanted || k->env.stopping)
		return;
	log_info("reading %s anew", k->config->file);
	reload_notify();
	rc = reload_read(&c, k->config);
	if (rc != 0)
		err_set(&e, rc, "%s will not do", k->config->file);
	if (rc == 0)
		rc = exec_log_reopen(k->env.exec_log, c, &e);
	if (rc == 0)
		rc = listeners_open(&ls, c, k->listeners, &e);
	if (rc == 0)
		rc = workers_reload(k->workers, c, ls, &e);
	if (rc != 0)
		keeper_not_renewed(e.message, k);
	listeners_unref(ls);
	config_unref(c);
}

/* ---- certificates ---- */

void keeper_follow_certificate(struct keeper *k)
{
	int fd = workers_certificate(k->workers);

	renewal_configure(k->renewal, k->config);
	if (fd >= 0)
		renewal_look(k->renewal, fd);
}

int keeper_revocations(const struct revocation_record *list, void *arg, struct err *e)
{
	struct keeper *k = arg;
	int rc = revocations_put(k->config, list, e);

	if (rc != 0) {
		log_error("the revocation list is not kept: %s", e->message);
		return rc;
	}
	workers_revoke(k->workers);
	return 0;
}

/* Nothing else comes into force by it, whatever the files say by now. */
static void certificate_renewed(void *arg)
{
	struct keeper *k = arg;
	struct err e;

	if (!k->env.stopping && workers_renew(k->workers, &e) != 0)
		keeper_not_renewed(e.message, k);
}

static void list_fetched(const struct revocation_record *list, void *arg)
{
	struct err e;

	(void)keeper_revocations(list, arg, &e);
}

const struct renewal_ops keeper_renewal_ops = {certificate_renewed, list_fetched};

/* ---- upgrade ---- */

static struct state_parts parts_of(const struct keeper *k)
{
	return (struct state_parts){.listeners = k->listeners,
	    .workers = k->workers,
	    .old_workers = k->old_workers,
	    .groups = k->env.groups,
	    .cgroups = k->cgroups,
	    .spool_dir = k->spool_dir,
	    .jobs = k->env.jobs};
}

static struct state_out *save_state(void *arg)
{
	struct keeper *k = arg;
	struct state_parts p = parts_of(k);

	k->self.dropped = jobs_dropped(k->env.jobs);
	exec_log_save(k->env.exec_log, &k->self.exec);
	return state_save(&k->self, &p);
}

static const char *hindered(void *arg)
{
	const struct keeper *k = arg;

	return start_later_busy(k->env.starter) ? "a process is being started, and that takes long"
	                                        : NULL;
}

static void leaving(void *arg)
{
	struct keeper *k = arg;

	renewal_stop(k->renewal);
	list_check_stop(k->env.lists);
	workers_move(k->workers);
}

static void not_upgraded(const char *why, void *arg)
{
	struct keeper *k = arg;

	log_error("not upgraded: %s; this one goes on", why);
	renewal_resume(k->renewal);
	notify_send("READY=1");
}

const struct upgrade_ops keeper_upgrade_ops = {save_state, hindered, leaving, not_upgraded};

void keeper_upgrade(struct keeper *k)
{
	if (k->env.stopping)
		return;
	log_info("asked to upgrade");
	reload_notify();
	upgrade_request(k->upgrade);
}

/* What the new configuration wants of addresses; where that cannot be had, those of before stay. */
static void renew_listeners(struct keeper *k)
{
	struct listeners *ls;
	struct err e;

	if (listeners_open(&ls, k->config, k->listeners, &e) != 0) {
		log_error("%s; the addresses stay as they were", e.message);
		return;
	}
	listeners_unref(k->listeners);
	k->listeners = ls;
}

int keeper_take_over(struct keeper *k, struct state_in *state, struct err *e)
{
	struct state_parts p = parts_of(k);
	int rc = state_restore(state, &k->self, &p, e);

	if (rc != 0)
		return rc;
	k->upgraded = true;
	k->listeners = p.listeners;
	jobs_set_dropped(k->env.jobs, k->self.dropped);
	jobs_resume(k->env.jobs);
	renew_listeners(k);
	keeper_publish(k);
	exec_log_event(k->env.exec_log, "upgrade", NULL);
	log_info("upgraded: %u processes run on, %u that have ended are held",
	    jobs_running(k->env.jobs), jobs_held(k->env.jobs));
	return 0;
}
