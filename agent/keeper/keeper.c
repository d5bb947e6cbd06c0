/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/keeper.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/budget.h"
#include "agent/keeper/ca_proc.h"
#include "agent/keeper/cgroup.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/exec_log.h"
#include "agent/keeper/files_program.h"
#include "agent/keeper/group.h"
#include "agent/keeper/helpers.h"
#include "agent/keeper/job.h"
#include "agent/keeper/keeper_internal.h"
#include "agent/keeper/link.h"
#include "agent/keeper/list_check.h"
#include "agent/keeper/listener.h"
#include "agent/keeper/notify.h"
#include "agent/keeper/old_workers.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/reap.h"
#include "agent/keeper/renewal.h"
#include "agent/keeper/reserve.h"
#include "agent/keeper/shutdown.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/start.h"
#include "agent/keeper/state.h"
#include "agent/keeper/state_dir.h"
#include "agent/keeper/tree.h"
#include "agent/keeper/upgrade.h"
#include "agent/keeper/watchers.h"
#include "agent/keeper/worker_proc.h"
#include "agent/keeper/workers.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signals.h"

#define LOOKS_NS (20 * NS_PER_MS) /* of a turn */

static const int signals[KEEPER_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};

/* ---- wires ---- */

static void job_output(struct job *j, enum km_stream s, void *arg)
{
	(void)arg;
	attach_on_output(j, s);
}

static void job_input(struct job *j, void *arg)
{
	(void)arg;
	attach_on_input(j);
}

static void job_ended(struct job *j, void *arg)
{
	struct keeper *k = arg;

	exec_log_ended(k->env.exec_log, j);
	start_later_drop(k->env.starter, j);
	group_on_ended(j);
	attach_on_ended(j);
	shutdown_poke(k->shutdown);
}

static void job_timer(struct job *j, void *arg)
{
	struct keeper *k = arg;

	ending_timer(j);
	reap_run(k->reap);
}

static void job_gone(struct job *j, void *arg)
{
	(void)arg;
	ending_gone(j);
}

static void job_forgotten(struct job *j, void *arg)
{
	struct keeper *k = arg;

	start_later_drop(k->env.starter, j);
	attach_on_forgotten(j);
	group_on_forgotten(j);
}

static void job_readers(struct job *j, enum km_stream s, struct store_readers *r, void *arg)
{
	(void)arg;
	attach_readers(j, s, r);
}

static void job_full(struct job *j, enum km_stream s, void *arg)
{
	(void)arg;
	attach_on_full(j, s);
}

static void job_patience(struct job *j, void *arg)
{
	(void)arg;
	attach_on_patience(j);
}

static const struct job_ops job_ops = {job_output, job_input, job_ended, job_timer, job_gone,
    job_forgotten, job_readers, job_full, job_patience};

static void started_later(struct job *j, void *arg)
{
	(void)arg;
	group_on_started(j);
	attach_on_started(j);
}

static void reap_unknown(pid_t pid, void *arg)
{
	struct keeper *k = arg;

	start_later_died(k->env.starter, pid);
}

static int reaped_other(pid_t pid, int status, void *arg)
{
	struct keeper *k = arg;

	return workers_reaped(k->workers, pid, status) || upgrade_reaped(k->upgrade, pid, status) ||
	       old_workers_reaped(k->old_workers, pid) || renewal_reaped(k->renewal, pid, status) ||
	       list_check_reaped(k->env.lists, pid, status) || ca_proc_reaped(k->ca, pid, status) ||
	       helpers_reaped(k->env.helpers, pid, status) ||
	       watchers_reaped(k->env.watchers, pid, status);
}

static void reap_round(void *arg)
{
	struct keeper *k = arg;

	shutdown_poke(k->shutdown);
}

static const struct reap_ops reap_ops = {reap_unknown, reaped_other, reap_round};

static void all_ready(void *arg)
{
	struct keeper *k = arg;

	keeper_publish(k);
	k->serving = true;
	keeper_follow_certificate(k);
	log_info("ready");
	notify_send("READY=1");
	if (k->reload_wanted)
		keeper_reload(k);
}

static void cannot_start(const char *why, void *arg)
{
	struct keeper *k = arg;

	err_set(&k->failure, TX_ESTATE, "%s", why);
	event_base_loopbreak(k->env.base);
}

/* A socket to the authority's process, where there is one. */
static void give_ca(struct worker_proc *w, void *arg)
{
	struct keeper *k = arg;
	int fd = ca_proc_client(k->ca);

	if (fd < 0)
		return;
	worker_proc_hand(w, KM_FILE_CA, fd);
	close(fd);
}

static const struct workers_ops workers_ops = {
    all_ready, cannot_start, keeper_renewed, keeper_not_renewed, give_ca};

static void ca_up(void *arg)
{
	struct keeper *k = arg;

	workers_each_serving(k->workers, give_ca, k);
}

static const struct ca_proc_ops ca_ops = {ca_up};

static void all_gone(void *arg)
{
	struct keeper *k = arg;

	event_base_loopbreak(k->env.base);
}

static void on_signal(int signo, void *arg)
{
	struct keeper *k = arg;

	if (signo == SIGHUP) {
		keeper_reload(k);
		return;
	}
	if (signo == SIGUSR2) {
		keeper_upgrade(k);
		return;
	}
	upgrade_cancel(k->upgrade);
	renewal_stop(k->renewal);
	list_check_stop(k->env.lists);
	notify_send("STOPPING=1");
	ca_proc_end(k->ca);
	watchers_end(k->env.watchers);
	shutdown_request(k->shutdown);
}

/* ---- life ---- */

static int new_starter(struct keeper *k, const struct config *c, struct err *e)
{
	struct starter_config config = {
	    .output_buffer = c->output_buffer,
	    .max_output_buffer = c->max_output_buffer,
	    .max_spool = c->max_spool,
	    .nofile = k->self.nofile,
	    .cgroups = k->cgroups,
	    .exec_log = k->env.exec_log,
	};

	k->spool_dir = state_dir_spool(k->self.state_dir, c->state_directory);
	config.spool_folder = k->spool_dir;
	config.started = started_later;
	config.arg = k;
	return starter_new(&k->env.starter, k->env.jobs, &config, e);
}

static int listen_for_signals(struct keeper *k, struct err *e)
{
	int rc = 0;

	signals_ignore(SIGPIPE);
	/* Past a limit of file sizes, a call is to fail: that request, not the agent. */
	signals_ignore(SIGXFSZ);
	for (size_t i = 0; i < KEEPER_SIGNALS && rc == 0; i++)
		rc = signals_watch(&k->watches[i], k->env.base, signals[i], on_signal, k, e);
	return rc;
}

/* Jobs that run on are worth more than the control groups that are wanted. */
static int make_cgroups(struct keeper *k, bool again, struct err *e)
{
	int rc = cgroups_new(&k->cgroups, k->env.base, k->config->cgroup, e);

	if (rc == 0 || !again)
		return rc;
	log_error("%s; control groups are used as if it were set to auto", e->message);
	return cgroups_new(&k->cgroups, k->env.base, "auto", e);
}

static int make_parts(struct keeper *k, const struct keeper_setup *setup, struct err *e)
{
	const struct config *c = k->config;
	int rc = jobs_new(&k->env.jobs, k->env.base, c->max_processes, e);

	if (rc == 0)
		rc = exec_log_new(&k->env.exec_log, c, &k->self.exec, e);
	if (rc == 0)
		rc = make_cgroups(k, setup->state != NULL, e);
	if (rc == 0) {
		k->env.can = cgroups_can(k->cgroups);
		rc = new_starter(k, c, e);
	}
	if (rc == 0) {
		k->env.ceiling = &c->ceiling;
		starter_set_ceiling(k->env.starter, &c->ceiling);
		rc = workers_new(
		    &k->workers, &k->env, setup->worker, k->self.start_ns, &workers_ops, k, e);
	}
	if (rc == 0)
		rc = ca_proc_new(&k->ca, k->env.base, setup->ca, &ca_ops, k, e);
	if (rc == 0)
		rc =
		    files_program_new(&k->files, setup->files, &k->self.nofile, k->env.exec_log, e);
	if (rc == 0)
		rc = helpers_new(&k->env.helpers, k->env.base, k->files, e);
	if (rc == 0)
		rc = watchers_new(&k->env.watchers, k->env.base, k->files, e);
	if (rc == 0)
		rc = old_workers_new(&k->old_workers, k->env.base, k->env.exec_log, e);
	if (rc == 0 && (k->env.looks = budget_new(k->env.base, LOOKS_NS)) == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0)
		rc = groups_new(&k->env.groups, k->env.jobs, k->env.starter, e);
	if (rc == 0)
		rc = upgrade_new(&k->upgrade, k->env.base, setup->program, setup->argv,
		    &keeper_upgrade_ops, k, e);
	if (rc == 0)
		rc = renewal_new(&k->renewal, k->env.base, setup->renew, &keeper_renewal_ops, k, e);
	if (rc == 0)
		rc = list_check_new(
		    &k->env.lists, k->env.base, setup->renew, link_on_list_checked, e);
	if (rc == 0)
		rc = reap_new(&k->reap, k->env.base, k->env.jobs, &reap_ops, k, e);
	if (rc == 0)
		rc = shutdown_new(&k->shutdown, &k->env, k->workers, k->reap, c->shutdown_grace_ns,
		    all_gone, k, e);
	return rc;
}

int keeper_new(struct keeper **out, const struct keeper_setup *setup, struct err *e)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int rc = 0;

	if (k == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	k->config = config_ref(setup->config);
	k->self = (struct state_keeper){
	    .start_ns = clock_realtime_ns(), .nofile = setup->nofile, .state_dir = -1, .lock = -1};
	k->spool_dir = -1;
	k->env.revocations = keeper_revocations;
	k->env.revocations_arg = k;
	spawn_init();
	reserve_fill();
	k->env.base = event_base_new();
	if (k->env.base == NULL)
		rc = err_set(e, TX_ENOMEM, "cannot make an event loop");
	else if (setup->state != NULL)
		rc = state_read_keeper(setup->state, &k->self, e);
	else
		rc = state_dir_take(
		    k->config->state_directory, &k->self.state_dir, &k->self.lock, e);
	if (rc == 0 && setup->state == NULL) {
		listeners_unpublish(k->self.state_dir);
		rc = listeners_open(&k->listeners, k->config, NULL, e);
	}
	if (rc == 0)
		rc = make_parts(k, setup, e);
	if (rc == 0)
		rc = listen_for_signals(k, e);
	if (rc == 0) {
		jobs_set_ops(k->env.jobs, &job_ops, k);
		if (setup->state != NULL)
			rc = keeper_take_over(k, setup->state, e);
	}
	if (rc != 0) {
		keeper_free(k);
		return rc;
	}
	*out = k;
	return 0;
}

int keeper_run(struct keeper *k, struct err *e)
{
	int rc = workers_start(k->workers, k->config, k->listeners, k->upgraded, e);

	if (rc != 0)
		return rc;
	ca_proc_set(k->ca, k->config);
	list_check_set(k->env.lists, k->config);
	files_program_set(k->files, k->config);
	/* Who died while another image was executed. */
	if (k->upgraded)
		reap_run(k->reap);
	if (event_base_dispatch(k->env.base) < 0)
		return err_set(e, TX_ESYS, "the event loop failed");
	if (k->failure.code != 0) {
		*e = k->failure;
		return e->code;
	}
	log_info("done");
	return 0;
}

void keeper_free(struct keeper *k)
{
	if (k == NULL)
		return;
	for (size_t i = 0; i < KEEPER_SIGNALS; i++)
		signals_unwatch(k->watches[i]);
	shutdown_free(k->shutdown);
	upgrade_free(k->upgrade);
	renewal_free(k->renewal);
	workers_free(k->workers);
	list_check_free(k->env.lists);
	ca_proc_free(k->ca);
	helpers_free(k->env.helpers);
	watchers_free(k->env.watchers);
	files_program_free(k->files);
	old_workers_free(k->old_workers);
	reap_free(k->reap);
	jobs_free(k->env.jobs);
	groups_free(k->env.groups);
	budget_free(k->env.looks);
	starter_free(k->env.starter);
	cgroups_free(k->cgroups);
	tree_forget();
	reserve_free();
	pump_out_end_all();
	exec_log_free(k->env.exec_log);
	listeners_unref(k->listeners);
	config_unref(k->config);
	if (k->published)
		listeners_unpublish(k->self.state_dir);
	if (k->spool_dir >= 0)
		close(k->spool_dir);
	if (k->self.lock >= 0)
		close(k->self.lock);
	if (k->self.state_dir >= 0)
		close(k->self.state_dir);
	if (k->env.base != NULL)
		event_base_free(k->env.base);
	free(k);
}
