/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/keeper.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/cgroup.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/job_save.h"
#include "agent/keeper/link.h"
#include "agent/keeper/listener.h"
#include "agent/keeper/notify.h"
#include "agent/keeper/old_workers.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/reap.h"
#include "agent/keeper/reload.h"
#include "agent/keeper/shutdown.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/start.h"
#include "agent/keeper/state.h"
#include "agent/keeper/tree.h"
#include "agent/keeper/upgrade.h"
#include "agent/keeper/workers.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signals.h"

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
#define N_SIGNALS (sizeof(signals) / sizeof(signals[0]))

struct keeper {
	struct config *config; /* the one in force */
	struct state_keeper self;
	bool serving;       /* the first workers are ready */
	bool upgraded;      /* this is not the first image of this agent */
	bool reload_wanted; /* asked for before that */
	struct link_env env;
	struct listeners *listeners;
	struct workers *workers;
	struct old_workers *old_workers;
	struct upgrade *upgrade;
	struct reap *reap;
	struct cgroups *cgroups;
	struct shutdown *shutdown;
	struct signal_watch *watches[N_SIGNALS];
	int spool_dir;
	bool published;
	struct err failure; /* why it never came to serve */
};

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
	(void)arg;
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

static int reaped_other(pid_t pid, int status, void *arg)
{
	struct keeper *k = arg;

	return workers_reaped(k->workers, pid, status) || upgrade_reaped(k->upgrade, pid, status) ||
	       old_workers_reaped(k->old_workers, pid);
}

static void reap_round(void *arg)
{
	struct keeper *k = arg;

	shutdown_poke(k->shutdown);
}

static const struct reap_ops reap_ops = {reaped_other, reap_round};

static void publish(struct keeper *k)
{
	struct err e;

	if (listeners_publish(k->listeners, k->self.state_dir, &e) != 0)
		log_warn("cannot publish the addresses: %s", e.message);
	else
		k->published = true;
}

static void reload(struct keeper *k);

static void all_ready(void *arg)
{
	struct keeper *k = arg;

	publish(k);
	k->serving = true;
	log_info("ready");
	notify_send("READY=1");
	if (k->reload_wanted)
		reload(k);
}

static void cannot_start(const char *why, void *arg)
{
	struct keeper *k = arg;

	err_set(&k->failure, TX_ESTATE, "%s", why);
	event_base_loopbreak(k->env.base);
}

/* What the parts have of the configuration, now and after each reload. */
static void apply(struct keeper *k)
{
	const struct config *c = k->config;

	log_open("keeper", c->log_level, c->log_json, STDERR_FILENO);
	jobs_set_max(k->env.jobs, c->max_processes);
	starter_set_sizes(k->env.starter, c->output_buffer, c->max_output_buffer, c->max_spool);
	shutdown_set_grace(k->shutdown, c->shutdown_grace_ns);
}

static void renewed(struct config *c, struct listeners *ls, void *arg)
{
	struct keeper *k = arg;
	struct config *old = k->config;
	struct listeners *old_ls = k->listeners;

	k->config = config_ref(c);
	k->listeners = listeners_ref(ls);
	apply(k);
	publish(k);
	config_unref(old);
	listeners_unref(old_ls);
	log_info("reloaded: %u workers serve with the new configuration", c->workers);
	notify_send("READY=1");
}

static void not_renewed(const char *why, void *arg)
{
	(void)arg;
	log_error("not reloaded: %s; the configuration that was in force stays", why);
	notify_send("READY=1");
}

static const struct workers_ops workers_ops = {all_ready, cannot_start, renewed, not_renewed};

static void reload(struct keeper *k)
{
	struct listeners *ls = NULL;
	struct config *c = NULL;
	struct err e = {0};
	int rc;

	k->reload_wanted = !k->serving;
	if (k->reload_wanted || k->env.stopping)
		return;
	log_info("reading %s anew", k->config->file);
	reload_notify();
	rc = reload_read(&c, k->config);
	if (rc != 0)
		err_set(&e, rc, "%s will not do", k->config->file);
	if (rc == 0)
		rc = listeners_open(&ls, c, k->listeners, &e);
	if (rc == 0)
		rc = workers_reload(k->workers, c, ls, &e);
	if (rc != 0)
		not_renewed(e.message, k);
	listeners_unref(ls);
	config_unref(c);
}

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
	return state_save(&k->self, &p);
}

static void leaving(void *arg)
{
	struct keeper *k = arg;

	workers_move(k->workers);
}

static void not_upgraded(const char *why, void *arg)
{
	(void)arg;
	log_error("not upgraded: %s; this one goes on", why);
	notify_send("READY=1");
}

static const struct upgrade_ops upgrade_ops = {save_state, leaving, not_upgraded};

static void begin_upgrade(struct keeper *k)
{
	if (k->env.stopping)
		return;
	log_info("asked to upgrade");
	reload_notify();
	upgrade_request(k->upgrade);
}

static void all_gone(void *arg)
{
	struct keeper *k = arg;

	event_base_loopbreak(k->env.base);
}

static void on_signal(int signo, void *arg)
{
	struct keeper *k = arg;

	if (signo == SIGHUP) {
		reload(k);
		return;
	}
	if (signo == SIGUSR2) {
		begin_upgrade(k);
		return;
	}
	upgrade_cancel(k->upgrade);
	notify_send("STOPPING=1");
	shutdown_request(k->shutdown);
}

/* ---- the state directory: one keeper's at a time ---- */

static int take_state_directory(struct keeper *k, struct err *e)
{
	const char *path = k->config->state_directory;

	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot make state directory %s", path);
	k->self.state_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->self.state_dir < 0)
		return err_sys(e, errno, "cannot open state directory %s", path);
	k->self.lock =
	    openat(k->self.state_dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (k->self.lock < 0)
		return err_sys(e, errno, "cannot open %s/lock", path);
	if (flock(k->self.lock, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK
		           ? err_set(e, TX_EEXIST, "another telexd uses state directory %s", path)
		           : err_sys(e, errno, "cannot lock %s/lock", path);
	listeners_unpublish(k->self.state_dir);
	return 0;
}

/* Without it there are no spool files; all else goes on. */
static void open_spool_directory(struct keeper *k)
{
	if (mkdirat(k->self.state_dir, "spool", 0700) == 0 || errno == EEXIST)
		k->spool_dir = openat(
		    k->self.state_dir, "spool", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (k->spool_dir < 0)
		log_warn("%s/spool: %s; outputs are held in memory only",
		    k->config->state_directory, strerror(errno));
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
	};

	open_spool_directory(k);
	config.spool_folder = k->spool_dir;
	return starter_new(&k->env.starter, k->env.jobs, &config, e);
}

static int listen_for_signals(struct keeper *k, struct err *e)
{
	int rc = 0;

	signals_ignore(SIGPIPE);
	for (size_t i = 0; i < N_SIGNALS && rc == 0; i++)
		rc = signals_watch(&k->watches[i], k->env.base, signals[i], on_signal, k, e);
	return rc;
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

static int take_over(struct keeper *k, struct state_in *state, struct err *e)
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
	publish(k);
	log_info("upgraded: %u processes run on, %u that have ended are held",
	    jobs_running(k->env.jobs), jobs_held(k->env.jobs));
	return 0;
}

static int make_parts(struct keeper *k, const struct keeper_setup *setup, struct err *e)
{
	const struct config *c = k->config;
	int rc = jobs_new(&k->env.jobs, k->env.base, c->max_processes, e);

	if (rc == 0)
		rc = cgroups_new(&k->cgroups, k->env.base, c->cgroup, e);
	if (rc == 0)
		k->env.can = cgroups_can(k->cgroups);
	if (rc == 0)
		rc = new_starter(k, c, e);
	if (rc == 0)
		rc = workers_new(
		    &k->workers, &k->env, setup->worker, k->self.start_ns, &workers_ops, k, e);
	if (rc == 0)
		rc = old_workers_new(&k->old_workers, k->env.base, e);
	if (rc == 0)
		rc = groups_new(&k->env.groups, k->env.jobs, k->env.starter, e);
	if (rc == 0)
		rc = upgrade_new(
		    &k->upgrade, k->env.base, setup->program, setup->argv, &upgrade_ops, k, e);
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
	spawn_init();
	k->env.base = event_base_new();
	if (k->env.base == NULL)
		rc = err_set(e, TX_ENOMEM, "cannot make an event loop");
	else if (setup->state != NULL)
		rc = state_read_keeper(setup->state, &k->self, e);
	else
		rc = take_state_directory(k, e);
	if (rc == 0 && setup->state == NULL)
		rc = listeners_open(&k->listeners, k->config, NULL, e);
	if (rc == 0)
		rc = make_parts(k, setup, e);
	if (rc == 0)
		rc = listen_for_signals(k, e);
	if (rc == 0) {
		jobs_set_ops(k->env.jobs, &job_ops, k);
		if (setup->state != NULL)
			rc = take_over(k, setup->state, e);
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
	for (size_t i = 0; i < N_SIGNALS; i++)
		signals_unwatch(k->watches[i]);
	shutdown_free(k->shutdown);
	upgrade_free(k->upgrade);
	workers_free(k->workers);
	old_workers_free(k->old_workers);
	reap_free(k->reap);
	jobs_free(k->env.jobs);
	groups_free(k->env.groups);
	cgroups_free(k->cgroups);
	tree_forget();
	pump_out_end_all();
	starter_free(k->env.starter);
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
