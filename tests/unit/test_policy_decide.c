/* SPDX-License-Identifier: Apache-2.0 */
/* What is allowed, by which rule, and the words for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/duration.h"
#include "common/job_spec.h"
#include "common/policy.h"

#define RUN    "telex.v1.ProcessService/Run"
#define SIGNAL "telex.v1.ProcessService/Signal"
#define INFO   "telex.v1.SystemService/GetInfo"
#define ALICE  "spiffe://lab.example/user/alice"
#define CI     "spiffe://lab.example/user/ci-7"
#define JAIL   "spiffe://lab.example/user/jailed"
#define MIXED  "spiffe://lab.example/user/mixed"
#define FILES  "spiffe://lab.example/user/files"

static const char text[] =
    "role op { methods = {\"**\"} command \"**\" {} users = {\"*\", \"*:*\"} environment = "
    "{\"*\"}\n"
    "  directories = {\"**\"} terminal = true any_process = true signals = {\"*\"} rlimits = "
    "{\"*\"}\n"
    "  min_nice = -20 read = {\"**\"} write = {\"**\"} watch = {\"**\"} }\n"
    "role deploy { methods = {\"telex.v1.ProcessService/*\"}\n"
    "  command \"/usr/bin/systemctl\" { arguments = {\"restart\", \"app-*\"} }\n"
    "  command \"/usr/bin/systemctl\" { arguments = {\"status\", \"**\"} }\n"
    "  command \"/usr/bin/one\" { arguments = {\"?*\"} }\n"
    "  command \"/usr/bin/none\" { arguments = {} }\n"
    "  command \"/opt/app/bin/**\" {}\n"
    "  users = {\"deploy\", \"app-*:www\", \"0\"} environment = {\"APP_*\", \"LD_DEBUG\"}\n"
    "  directories = {\"/srv/app/**\"} signals = {\"TERM\", \"HUP\", \"KILL\"}\n"
    "  max_memory = 1GiB max_pids = 10 max_cpu = 1.5 max_run_timeout = 1m max_output_buffer = "
    "1MiB\n"
    "  max_spool = 2MiB rlimits = {\"nofile=1024\"} max_running = 20 calls_per_second = 100\n"
    "  read = {\"/var/log/**\"} write = {\"/srv/app/*\"} watch = {\"/srv/app/**\"} }\n"
    "role jail { methods = {\"telex.v1.ProcessService/Run\"} users = {\"*\"}\n"
    "  forced_command = {\"/usr/bin/backup\", \"--now\"} run_timeout_required = true\n"
    "  concurrent_calls = 3 calls_per_second = 5 }\n"
    "role users-only { methods = {\"telex.v1.ProcessService/Run\"} users = {\"*\"} }\n"
    "role commands-only { methods = {\"telex.v1.ProcessService/Run\"} command \"/bin/ls\" {} }\n"
    "grant ops { identities = {\"spiffe://lab.example/user/alice\"} roles = {\"op\"} }\n"
    "grant ci { identities = {\"spiffe://lab.example/user/ci-*\"} roles = {deploy} }\n"
    "grant jailed { identities = {\"spiffe://lab.example/user/jailed\"} roles = {jail} }\n"
    "grant mixed { identities = {\"spiffe://lab.example/user/mixed\"}\n"
    "  roles = {users-only, commands-only} }\n"
    "role data { methods = {\"telex.v1.FileService/*\", \"telex.v1.WatchService/*\"}\n"
    "  users = {\"app\"} read = {\"/data/**\"} watch = {\"/seen/**\"} max_upload = 1K }\n"
    "role inbox { methods = {\"telex.v1.FileService/*\"} users = {\"app\", \"other\"}\n"
    "  read = {\"/pub/**\"} write = {\"/in/**\", \"/pub/**\"} max_upload_files = 5\n"
    "  max_unfinished = 9 }\n"
    "grant files { identities = {\"spiffe://lab.example/user/files\"} roles = {data, inbox} }\n";

static struct policy *policy;

static void tell(const char *problem, void *arg)
{
	(void)arg;
	print_error("%s\n", problem);
}

static int set_up(void **state)
{
	(void)state;
	return policy_parse(&policy, text, strlen(text), "policy.conf", tell, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	policy_free(policy);
	return 0;
}

/* ---- asking ---- */

static struct policy_decision ask(const struct policy_request *r)
{
	struct policy_decision d;

	policy_decide(policy, r, &d);
	assert_int_equal(d.allowed, d.why[0] == '\0');
	assert_true(d.rule[0] != '\0');
	return d;
}

static char *words[16];

/* A spec of these words, as "/bin/ls -l". */
static struct job_spec spec_of(const char *line)
{
	static char copy[256];
	struct job_spec s = {.argv = words, .stop_signal = SIGTERM};
	char *save = NULL;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		words[s.argc++] = w;
	words[s.argc] = NULL;
	return s;
}

static struct policy_decision run(const char *who, struct job_spec *s, const char *user)
{
	struct policy_request r = {
	    .identity = who, .method = RUN, .act = POLICY_RUN, .spec = s, .user = user};

	return ask(&r);
}

static bool runs(const char *who, const char *line, const char *user)
{
	struct job_spec s = spec_of(line);

	return run(who, &s, user).allowed;
}

/* ---- who, and which method ---- */

static void only_a_matching_grant_allows_a_method(void **state)
{
	static const struct {
		const char *identity, *method;
		bool allowed;
	} rows[] = {
	    {ALICE, INFO, true},
	    {ALICE, RUN, true},
	    {CI, RUN, true},
	    {CI, INFO, false},
	    {JAIL, RUN, true},
	    {JAIL, SIGNAL, false},
	    {"spiffe://lab.example/user/ali", INFO, false},
	    {"spiffe://lab.example/user/alicea", INFO, false},
	    {"spiffe://lab.example/user/alice/x", INFO, false},
	    {"spiffe://lab.example/user/Alice", INFO, false},
	    {"spiffe://lab.example/user/ci-7/x", RUN, false},
	    {"spiffe://lab.example/agent/alice", INFO, false},
	    {"spiffe://other.example/user/alice", INFO, false},
	    {"", INFO, false},
	    {NULL, INFO, false},
	    {ALICE, NULL, false},
	    {CI, "telex.v1.ProcessService", false},
	    {CI, "/telex.v1.ProcessService/Run", false},
	    {CI, "telex.v1.ProcessService/Run/x", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct policy_request r = {.identity = rows[i].identity, .method = rows[i].method};

		if (ask(&r).allowed != rows[i].allowed)
			fail_msg("row %zu", i);
	}
}

static void without_a_policy_nothing_is_allowed(void **state)
{
	struct policy_request r = {.identity = ALICE, .method = INFO};
	struct policy_decision d;

	(void)state;
	policy_decide(NULL, &r, &d);
	assert_false(d.allowed);
	assert_false(policy_any_process(NULL, ALICE, SIGNAL));
}

/* ---- commands ---- */

static void a_program_is_allowed_by_its_one_spelling(void **state)
{
	static const struct {
		const char *line;
		bool allowed;
	} rows[] = {
	    {"/opt/app/bin/x", true},
	    {"/opt/app/bin/a/b", true},
	    {"/opt/app/bin/x any --thing", true},
	    {"/opt/app/bin", false},
	    {"/opt/app/bin/", false},
	    {"//opt/app/bin/x", false},
	    {"/opt/app/bin//x", false},
	    {"/opt/app/bin/../../../bin/sh", false},
	    {"/opt/app/bin/./x", false},
	    {"/opt/app/bin/x/", false},
	    {"/opt/app/bin/x/.", false},
	    {"opt/app/bin/x", false},
	    {"x", false},
	    {"/bin/sh", false},
	    {"/usr/bin/systemctl", false},
	    {"/usr/bin/systemctl restart app-1", true},
	    {"/usr/bin/systemctl restart app-1 app-2", false},
	    {"/usr/bin/systemctl restart", false},
	    {"/usr/bin/systemctl restart app-/../x", false},
	    {"/usr/bin/systemctl restart other", false},
	    {"/usr/bin/systemctl --force restart app-1", false},
	    {"/usr/bin/systemctl status", true},
	    {"/usr/bin/systemctl status a b --any", true},
	    {"/usr/bin/systemctl stop app-1", false},
	    {"/usr/bin/systemctl2 status", false},
	    {"/usr/bin/one x", true},
	    {"/usr/bin/one -x", false},
	    {"/usr/bin/one", false},
	    {"/usr/bin/none", true},
	    {"/usr/bin/none x", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (runs(CI, rows[i].line, "deploy") != rows[i].allowed)
			fail_msg("%s", rows[i].line);
	assert_true(runs(ALICE, "ls", "root"));
	assert_true(runs(ALICE, "../x//y", "root"));
}

static void no_program_is_no_program(void **state)
{
	char *empty[] = {(char *)"", NULL};
	struct job_spec none = {.argv = empty}, nameless = {.argc = 1, .argv = empty};

	(void)state;
	assert_false(run(ALICE, &none, "root").allowed);
	assert_false(run(ALICE, &nameless, "root").allowed);
	assert_false(run(ALICE, NULL, "root").allowed);
}

static void refusals_name_the_thing_and_the_way_out(void **state)
{
	struct job_spec s = spec_of("ls -l");
	struct policy_decision d = run(CI, &s, "deploy");

	(void)state;
	assert_string_equal(d.rule, "grant ci, role deploy");
	assert_non_null(strstr(d.why, "type /usr/bin/ls"));
	s = spec_of("/usr/bin/systemctl stop app-1");
	d = run(CI, &s, "deploy");
	assert_string_equal(d.rule, "grant ci, role deploy, command /usr/bin/systemctl");
	assert_string_equal(d.why, "/usr/bin/systemctl may be run, but not with these arguments");
	s = spec_of("/opt/app/bin/x");
	d = run(CI, &s, "root");
	assert_string_equal(d.rule, "grant ci, role deploy, command /opt/app/bin/**");
	assert_non_null(strstr(d.why, "deploy, app-*:www, 0"));
	s.user = (char *)"ro\not";
	d = run(CI, &s, s.user);
	assert_string_equal(d.why, "not as the user 'ro\\not'; allowed: deploy, app-*:www, 0");
	d = run("spiffe://lab.example/user/nobody", &s, "root");
	assert_string_equal(d.rule, "no grant matches");
	d = run(ALICE, &s, "root");
	assert_string_equal(d.rule, "grant ops, role op, command **");
}

/* ---- users ---- */

static void users_are_allowed_by_name(void **state)
{
	static const struct {
		const char *user;
		bool allowed;
	} rows[] = {
	    {"deploy", true},
	    {"deploy:deploy", false},
	    {"deploy:root", false},
	    {"deploy:", false},
	    {"deploy ", false},
	    {" deploy", false},
	    {"Deploy", false},
	    {"app-1:www", true},
	    {"app-1", false},
	    {"app-1:root", false},
	    {"app-1:www:x", false},
	    {"app-1:0", false},
	    {"0", true},
	    {"00", false},
	    {"+0", false},
	    {"0:0", false},
	    {"4294967296", false},
	    {"-1", false},
	    {"", false},
	    {":", false},
	    {":www", false},
	    {"root", false},
	    {"root ", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (runs(CI, "/opt/app/bin/x", rows[i].user) != rows[i].allowed)
			fail_msg("'%s'", rows[i].user);
	assert_false(runs(CI, "/opt/app/bin/x", NULL));
}

static void no_pattern_means_a_number_by_chance(void **state)
{
	static const char file[] = "role a { methods = {\"**\"} command \"**\" {} users = {\"?\", "
	                           "\"?*\", \"[0-9]*\", \"1*\"} }\n"
	                           "grant g { identities = {\"spiffe://x/user/a\"} roles = {a} }";
	static const char *const numbers[] = {"0", "1", "1000", "+0", "0x0", " 0", "-1", "0 "};
	struct policy_decision d;
	struct job_spec s = spec_of("/bin/ls");
	struct policy_request r = {
	    .identity = "spiffe://x/user/a", .method = RUN, .act = POLICY_RUN, .spec = &s};
	struct policy *p;

	(void)state;
	assert_int_equal(policy_parse(&p, file, strlen(file), "p", tell, NULL), 0);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		r.user = numbers[i];
		policy_decide(p, &r, &d);
		if (d.allowed)
			fail_msg("'%s'", numbers[i]);
	}
	r.user = "somebody";
	policy_decide(p, &r, &d);
	assert_true(d.allowed);
	policy_free(p);
}

static void rights_of_two_roles_are_not_put_together(void **state)
{
	(void)state;
	assert_false(runs(MIXED, "/bin/ls", "deploy"));
}

/* ---- settings ---- */

static bool with_variable(const char *who, const char *variable)
{
	char *env[] = {(char *)variable, NULL};
	struct job_spec s = spec_of("/opt/app/bin/x");

	s.env = env;
	s.envc = 1;
	s.run_timeout_ns = NS_PER_S;
	return run(who, &s, "deploy").allowed;
}

static void variables_are_allowed_by_name_and_dangerous_ones_literally(void **state)
{
	(void)state;
	assert_true(with_variable(CI, "APP_X=1"));
	assert_true(with_variable(CI, "APP_X=B=C"));
	assert_true(with_variable(CI, "LD_DEBUG=all"));
	assert_false(with_variable(CI, "LD_PRELOAD=/x.so"));
	assert_false(with_variable(CI, "LANG=C"));
	assert_false(with_variable(CI, "=APP_X"));
	assert_false(with_variable(CI, "APP_X"));
	assert_false(with_variable(CI, ""));
	assert_false(with_variable(CI, "app_x=1"));
	/* "*" is not for those. */
	assert_true(with_variable(ALICE, "PATH=/bin"));
	assert_false(with_variable(ALICE, "LD_PRELOAD=/x.so"));
	assert_false(with_variable(ALICE, "BASH_FUNC_x%%=() { :; }"));
	assert_false(with_variable(ALICE, "TELEX_ORIGINAL_COMMAND=x"));
	/* A role that names none. */
	assert_true(with_variable(JAIL, "LANG=C"));
	assert_true(with_variable(JAIL, "LC_ALL=C"));
	assert_true(with_variable(JAIL, "TERM=xterm"));
	assert_false(with_variable(JAIL, "PATH=/bin"));
	assert_false(with_variable(JAIL, "LD_PRELOAD=x"));
}

static void a_variable_with_an_endless_name_is_refused(void **state)
{
	char name[400];

	(void)state;
	memset(name, 'A', sizeof(name));
	memcpy(name, "APP_", 4);
	strcpy(name + 390, "=1");
	assert_false(with_variable(CI, name));
}

static bool in_directory(const char *cwd)
{
	struct job_spec s = spec_of("/opt/app/bin/x");

	s.cwd = (char *)cwd;
	return run(CI, &s, "deploy").allowed;
}

static void folders_are_allowed_by_their_one_spelling(void **state)
{
	(void)state;
	assert_true(in_directory(NULL));
	assert_true(in_directory("/srv/app"));
	assert_true(in_directory("/srv/app/a/b"));
	assert_false(in_directory("/srv/app/"));
	assert_false(in_directory("/srv/apps"));
	assert_false(in_directory("/srv/app/../x"));
	assert_false(in_directory("/srv//app"));
	assert_false(in_directory("/"));
	assert_false(in_directory(""));
}

static void settings_are_held_against_the_maxima(void **state)
{
	struct job_rlimit files = {.resource = RLIMIT_NOFILE, .soft = 1, .hard = 1024};
	const struct job_spec plain = spec_of("/opt/app/bin/x");
	struct job_spec s;
	struct policy_decision d;

#define REFUSED(member, value)                                                                     \
	s = plain;                                                                                 \
	s.member = value;                                                                          \
	assert_false(run(CI, &s, "deploy").allowed)
#define ALLOWED(member, value)                                                                     \
	s = plain;                                                                                 \
	s.member = value;                                                                          \
	assert_true(run(CI, &s, "deploy").allowed)
	(void)state;
	ALLOWED(memory, (uint64_t)1 << 30);
	REFUSED(memory, ((uint64_t)1 << 30) + 1);
	ALLOWED(pids, 10);
	REFUSED(pids, 11);
	ALLOWED(cpu_millis, 1500);
	REFUSED(cpu_millis, 1501);
	ALLOWED(run_timeout_ns, 60 * NS_PER_S);
	REFUSED(run_timeout_ns, 61 * NS_PER_S);
	ALLOWED(output_buffer, 1 << 20);
	REFUSED(output_buffer, 2 << 20);
	ALLOWED(spool, 2 << 20);
	REFUSED(spool, 3 << 20);
	REFUSED(terminal, true);
	REFUSED(nice, -1);
	ALLOWED(nice, 5);
	REFUSED(stop_signal, SIGUSR1);
	ALLOWED(stop_signal, SIGHUP);
	s = plain;
	s.rlimits = &files;
	s.n_rlimits = 1;
	assert_true(run(CI, &s, "deploy").allowed);
	assert_int_equal(run(CI, &s, "deploy").n_rlimits, 0);
	files.hard = UINT64_MAX;
	assert_false(run(CI, &s, "deploy").allowed);
	files = (struct job_rlimit){.resource = RLIMIT_CORE, .hard = 1};
	assert_false(run(CI, &s, "deploy").allowed);
	files.resource = 4000;
	assert_false(run(CI, &s, "deploy").allowed);
	s = plain;
	s.memory = 5 << 20;
	d = run(CI, &s, "deploy");
	assert_true(d.memory == 5 << 20 && d.pids == 10 && d.cpu_millis == 1500);
	assert_true(d.run_timeout_ns == 60 * NS_PER_S);
	assert_int_equal(d.max_running, 20);
	/* Who does not ask for a limit has it all the same. */
	assert_int_equal(d.n_rlimits, 1);
	assert_int_equal(d.rlimits[0].resource, RLIMIT_NOFILE);
	assert_true(d.rlimits[0].soft == 1024 && d.rlimits[0].hard == 1024);
	assert_int_equal(d.rlimits[0].at_most, 1);
	d = run(ALICE, &s, "deploy");
	assert_true(d.pids == 0 && d.cpu_millis == 0 && d.run_timeout_ns == 0);
	assert_int_equal(d.n_rlimits, 0);
}

static void a_forced_command_is_given_instead(void **state)
{
	struct job_spec s = spec_of("rm -rf /");
	struct policy_decision d = run(JAIL, &s, "nobody");

	(void)state;
	assert_false(d.allowed);
	assert_non_null(strstr(d.why, "--timeout"));
	s.run_timeout_ns = NS_PER_S;
	d = run(JAIL, &s, "nobody");
	assert_true(d.allowed);
	assert_string_equal(d.rule, "grant jailed, role jail, forced_command");
	assert_string_equal(d.forced, "/usr/bin/backup --now");
	assert_string_equal(d.forced_argv[0], "/usr/bin/backup");
	assert_string_equal(d.forced_argv[1], "--now");
	assert_null(d.forced_argv[2]);
}

/* ---- processes that are there, and files ---- */

static void signals_and_owners_are_checked(void **state)
{
	struct policy_request r = {.identity = CI, .method = SIGNAL, .act = POLICY_PROCESS};

	(void)state;
	assert_true(ask(&r).allowed);
	r.signal = SIGTERM;
	assert_true(ask(&r).allowed);
	r.signal = SIGUSR1;
	assert_false(ask(&r).allowed);
	r.signal = 65;
	assert_false(ask(&r).allowed);
	r.signal = -1;
	assert_false(ask(&r).allowed);
	r.signal = 0;
	r.kill = true;
	assert_true(ask(&r).allowed);
	r.any = true;
	assert_false(ask(&r).allowed);
	assert_false(policy_any_process(policy, CI, SIGNAL));
	assert_true(policy_any_process(policy, ALICE, SIGNAL));
	assert_false(policy_any_process(policy, "", SIGNAL));
	r.identity = ALICE;
	r.signal = 64;
	assert_true(ask(&r).allowed);
	r = (struct policy_request){.identity = CI, .method = SIGNAL, .act = POLICY_PROCESS};
	r.memory = (uint64_t)2 << 30;
	assert_false(ask(&r).allowed);
	r.memory = 0;
	r.renice = true;
	r.nice = -1;
	assert_false(ask(&r).allowed);
}

static bool path_allowed(enum policy_act act, const char *path)
{
	struct policy_request r = {.identity = CI, .method = RUN, .act = act, .path = path};

	return ask(&r).allowed;
}

static void files_are_allowed_by_their_roots(void **state)
{
	(void)state;
	assert_true(path_allowed(POLICY_FILE_READ, "/var/log/a/b"));
	assert_true(path_allowed(POLICY_FILE_READ, "/var/log"));
	assert_false(path_allowed(POLICY_FILE_READ, "/var/log/../../etc/shadow"));
	assert_false(path_allowed(POLICY_FILE_READ, "/srv/app/x"));
	assert_false(path_allowed(POLICY_FILE_READ, NULL));
	assert_true(path_allowed(POLICY_FILE_WRITE, "/srv/app/x"));
	assert_false(path_allowed(POLICY_FILE_WRITE, "/srv/app"));
	assert_false(path_allowed(POLICY_FILE_WRITE, "/srv/app/x/y"));
	assert_false(path_allowed((enum policy_act)99, "/srv/app"));
}

#define WRITE "telex.v1.FileService/Write"

static struct policy_decision files(const char *who, const char *user, const char *const *reads,
    const char *const *writes, bool carries)
{
	struct policy_request r = {.identity = who,
	    .method = WRITE,
	    .act = POLICY_FILES,
	    .user = user,
	    .reads = reads,
	    .writes = writes,
	    .carries = carries};

	while (reads != NULL && reads[r.n_reads] != NULL)
		r.n_reads++;
	while (writes != NULL && writes[r.n_writes] != NULL)
		r.n_writes++;
	return ask(&r);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static void one_role_decides_on_a_call_about_files(void **state)
{
	struct policy_decision d;

	(void)state;
	d = files(FILES, "app", LIST("/data/x", "/data"), NULL, false);
	assert_true(d.allowed);
	assert_int_equal(d.role, 0);
	d = files(FILES, "app", LIST("/pub/x"), LIST("/in/x"), false);
	assert_true(d.allowed);
	assert_int_equal(d.role, 1);
	/* Of those for another user, there are fewer. */
	d = files(FILES, "other", LIST("/pub/x"), NULL, false);
	assert_true(d.allowed);
	assert_int_equal(d.role, 0);
	assert_false(files(FILES, "app", LIST("/data/x"), LIST("/in/x"), false).allowed);
	assert_false(files(FILES, "app", LIST("/data/x", "/etc/passwd"), NULL, false).allowed);
	assert_false(files(FILES, "app", LIST("/data/../etc/passwd"), NULL, false).allowed);
	assert_false(files(FILES, "root", LIST("/data/x"), NULL, false).allowed);
	assert_false(files(FILES, NULL, LIST("/data/x"), NULL, false).allowed);
	/* A method, too. */
	assert_false(files(CI, "deploy", LIST("/var/log/x"), NULL, false).allowed);
	assert_true(files(ALICE, "root", LIST("/etc/shadow"), LIST("/"), false).allowed);
}

static bool watched(const char *who, const char *user, const char *const *paths)
{
	struct policy_request r = {.identity = who,
	    .method = "telex.v1.WatchService/Watch",
	    .act = POLICY_FILES,
	    .user = user,
	    .watches = paths};

	while (paths[r.n_watches] != NULL)
		r.n_watches++;
	return ask(&r).allowed;
}

static void what_is_watched_has_roots_of_its_own(void **state)
{
	(void)state;
	assert_true(watched(FILES, "app", LIST("/seen", "/seen/x")));
	assert_false(watched(FILES, "app", LIST("/seen", "/in/x")));
	assert_false(watched(FILES, "app", LIST("/data/x")));
	assert_false(watched(FILES, "other", LIST("/seen")));
	/* The method is not granted. */
	assert_false(watched(CI, "deploy", LIST("/srv/app")));
	assert_true(watched(ALICE, "root", LIST("/", "/etc")));
}

static void nothing_comes_to_be_readable_by_being_moved(void **state)
{
	(void)state;
	assert_true(files(FILES, "app", NULL, LIST("/in/x", "/in/y"), true).allowed);
	assert_false(files(FILES, "app", NULL, LIST("/in/x", "/pub/y"), true).allowed);
	assert_true(files(FILES, "app", NULL, LIST("/pub/x", "/in/y"), true).allowed);
	assert_true(files(FILES, "app", NULL, LIST("/in/x", "/pub/y"), false).allowed);
}

static void the_roles_for_files_are_those_that_allow_the_user(void **state)
{
	struct policy_file_role roles[4];

	(void)state;
	assert_int_equal(policy_file_roles(policy, FILES, "app", roles, 4), 2);
	assert_string_equal(roles[0].read[0], "/data/**");
	assert_null(roles[0].write);
	assert_true(roles[0].max_upload == 1024 && roles[0].max_upload_files == 0);
	assert_true(roles[0].max_unfinished == 0 && roles[1].max_unfinished == 9);
	assert_string_equal(roles[1].write[0], "/in/**");
	assert_true(roles[1].max_upload == 0 && roles[1].max_upload_files == 5);
	assert_int_equal(policy_file_roles(policy, FILES, "other", roles, 0), 1);
	assert_int_equal(policy_file_roles(policy, FILES, "root", roles, 4), 0);
	assert_int_equal(policy_file_roles(policy, "", "app", roles, 4), 0);
	assert_int_equal(policy_file_roles(NULL, FILES, "app", roles, 4), 0);
}

static void rates_are_the_largest(void **state)
{
	(void)state;
	assert_int_equal(policy_rates(policy, CI).calls_per_second, 100);
	assert_int_equal(policy_rates(policy, CI).concurrent_calls, 0);
	assert_int_equal(policy_rates(policy, JAIL).concurrent_calls, 3);
	assert_int_equal(policy_rates(policy, JAIL).calls_per_second, 5);
	assert_int_equal(policy_rates(policy, ALICE).calls_per_second, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_a_matching_grant_allows_a_method),
	    cmocka_unit_test(without_a_policy_nothing_is_allowed),
	    cmocka_unit_test(a_program_is_allowed_by_its_one_spelling),
	    cmocka_unit_test(no_program_is_no_program),
	    cmocka_unit_test(refusals_name_the_thing_and_the_way_out),
	    cmocka_unit_test(users_are_allowed_by_name),
	    cmocka_unit_test(no_pattern_means_a_number_by_chance),
	    cmocka_unit_test(rights_of_two_roles_are_not_put_together),
	    cmocka_unit_test(variables_are_allowed_by_name_and_dangerous_ones_literally),
	    cmocka_unit_test(a_variable_with_an_endless_name_is_refused),
	    cmocka_unit_test(folders_are_allowed_by_their_one_spelling),
	    cmocka_unit_test(settings_are_held_against_the_maxima),
	    cmocka_unit_test(a_forced_command_is_given_instead),
	    cmocka_unit_test(signals_and_owners_are_checked),
	    cmocka_unit_test(files_are_allowed_by_their_roots),
	    cmocka_unit_test(one_role_decides_on_a_call_about_files),
	    cmocka_unit_test(what_is_watched_has_roots_of_its_own),
	    cmocka_unit_test(nothing_comes_to_be_readable_by_being_moved),
	    cmocka_unit_test(the_roles_for_files_are_those_that_allow_the_user),
	    cmocka_unit_test(rates_are_the_largest),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
