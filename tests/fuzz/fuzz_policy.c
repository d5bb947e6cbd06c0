/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy file, and what it decides of a request: the file's text, a form feed, and the request in
 * lines: identity, method, act, user, words of the command line, variables, folder, paths, numbers.
 * Without a text it is asked of one that has something of everything.
 */
#include <stdlib.h>
#include <string.h>

#include "common/glob.h"
#include "common/mem.h"
#include "common/policy.h"
#include "tests/fuzz/fuzz.h"

#define WORDS_MAX 8

struct words {
	char *at[WORDS_MAX + 1];
	size_t n;
};

struct request {
	char *identity, *method, *act, *user, *path, *argv, *env, *files;
	struct words argv_words, env_words, file_words;
	struct job_rlimit rlimits[2];
	struct job_spec spec;
	struct policy_request r;
};

static const char whole[] =
    "role op { methods = {\"**\"} command \"**\" {} users = {\"*\", \"*:*\"} environment = "
    "{\"*\"}\n"
    " directories = {\"**\"} terminal = true any_process = true signals = {\"*\"} rlimits = "
    "{\"*\"}\n"
    " min_nice = -20 read = {\"**\"} write = {\"**\"} watch = {\"**\"} }\n"
    "role d { methods = {\"telex.v1.ProcessService/*\", \"telex.v1.FileService/*\"}\n"
    " command \"/usr/bin/ctl\" { arguments = {\"restart\", \"app-*\"} }\n"
    " command \"/usr/bin/ctl\" { arguments = {\"?\", \"**\"} } command \"/opt/*\" {}\n"
    " users = {\"d\", \"app-*:www\", \"0\"} environment = {\"A_*\", \"LD_DEBUG\"}\n"
    " directories = {\"/srv/**\"} signals = {\"TERM\", \"HUP\"} max_memory = 1GiB max_pids = 10\n"
    " max_cpu = 1.5 max_run_timeout = 1m max_output_buffer = 1MiB max_spool = 2MiB\n"
    " rlimits = {\"nofile=1024\"} max_running = 20 calls_per_second = 100 concurrent_calls = 3\n"
    " read = {\"/log/**\", \"/srv/a\\\\*\"} write = {\"/srv/*\", \"/in/**\"} watch = {\"/srv/?\"}\n"
    " max_upload = 1K max_upload_files = 5 }\n"
    "role jail { methods = {\"**\"} users = {\"*\"} forced_command = {\"/bin/b\", \"--now\"}\n"
    " run_timeout_required = true calls_per_second = 200 concurrent_calls = 9 }\n"
    "grant ops { identities = {\"spiffe://a/user/op\"} roles = {op} }\n"
    "grant ci { identities = {\"spiffe://a/user/ci*\"} roles = {d} }\n"
    "grant jailed { identities = {\"spiffe://a/user/j\", \"spiffe://a/user/ci-j\"} roles = {jail} "
    "}\n";

static unsigned problems;

static void count_problem(const char *text, void *arg)
{
	(void)arg;
	fuzz_require(text[0] != '\0');
	problems++;
}

/* Words with a space between them; takes `text` apart. */
static void split(struct words *w, char *text)
{
	w->n = 0;
	while (w->n < WORDS_MAX && text != NULL)
		w->at[w->n++] = strsep(&text, " ");
	w->at[w->n] = NULL;
}

static void take_request(struct request *q, struct fuzz_input *in)
{
	memset(q, 0, sizeof(*q));
	q->identity = fuzz_text(in, '\n');
	q->method = fuzz_text(in, '\n');
	q->act = fuzz_text(in, '\n');
	q->user = fuzz_text(in, '\n');
	q->argv = fuzz_text(in, '\n');
	q->env = fuzz_text(in, '\n');
	q->path = fuzz_text(in, '\n');
	q->files = fuzz_text(in, '\n');
	split(&q->argv_words, q->argv);
	split(&q->env_words, q->env);
	split(&q->file_words, q->files);
}

static void free_request(struct request *q)
{
	free(q->identity);
	free(q->method);
	free(q->act);
	free(q->user);
	free(q->argv);
	free(q->env);
	free(q->path);
	free(q->files);
}

static void fill_spec(struct request *q, struct fuzz_input *in)
{
	struct job_spec *s = &q->spec;

	*s = (struct job_spec){.argv = q->argv_words.at,
	    .argc = q->argv_words.n,
	    .env = q->env_words.at,
	    .envc = q->env[0] != '\0' ? q->env_words.n : 0,
	    .cwd = q->path[0] != '\0' ? q->path : NULL,
	    .user = q->user[0] != '\0' ? q->user : NULL,
	    .rlimits = q->rlimits};
	s->nice = (int8_t)fuzz_byte(in);
	s->stop_signal = fuzz_byte(in) % 65;
	s->terminal = (fuzz_byte(in) & 1) != 0;
	s->memory = fuzz_number(in, 4);
	s->pids = fuzz_number(in, 2);
	s->cpu_millis = (uint32_t)fuzz_number(in, 2);
	s->output_buffer = fuzz_number(in, 4);
	s->spool = fuzz_number(in, 4);
	s->run_timeout_ns = (int64_t)fuzz_number(in, 6);
	s->n_rlimits = fuzz_byte(in) % 3;
	for (size_t i = 0; i < s->n_rlimits; i++) {
		q->rlimits[i].resource = fuzz_byte(in);
		q->rlimits[i].soft = q->rlimits[i].hard = fuzz_number(in, 8);
	}
}

static void fill(struct request *q, struct fuzz_input *in)
{
	fill_spec(q, in);
	q->r = (struct policy_request){.identity = q->identity,
	    .method = q->method,
	    .any_method = strchr(q->act, 'm') != NULL,
	    .act = (enum policy_act)(q->act[0] & 7),
	    .spec = &q->spec,
	    .user = q->user,
	    .any = strchr(q->act, 'a') != NULL,
	    .signal = q->spec.stop_signal,
	    .kill = strchr(q->act, 'k') != NULL,
	    .renice = strchr(q->act, 'r') != NULL,
	    .nice = q->spec.nice,
	    .memory = q->spec.memory,
	    .pids = q->spec.pids,
	    .cpu_millis = q->spec.cpu_millis,
	    .rlimits = q->rlimits,
	    .n_rlimits = q->spec.n_rlimits,
	    .path = q->path,
	    .default_user = strchr(q->act, 'd') != NULL,
	    .reads = (const char *const *)q->argv_words.at,
	    .n_reads = strchr(q->act, 'R') != NULL ? q->argv_words.n : 0,
	    .writes = (const char *const *)q->file_words.at,
	    .n_writes = strchr(q->act, 'W') != NULL ? q->file_words.n : 0,
	    .watches = (const char *const *)q->file_words.at,
	    .n_watches = strchr(q->act, 'T') != NULL ? q->file_words.n : 0,
	    .carries = strchr(q->act, 'c') != NULL,
	    .exchanges = strchr(q->act, 'x') != NULL};
}

static void check_allowed(const struct policy *p, const struct request *q)
{
	const struct policy_request *r = &q->r;

	fuzz_require(policy_grant_count(p) > 0 && policy_role_count(p) > 0);
	fuzz_require(r->identity[0] != '\0');
	fuzz_require(r->act <= POLICY_FILES);
	if (r->act == POLICY_RUN) {
		fuzz_require(q->spec.argv[0][0] != '\0' && r->user[0] != '\0');
		fuzz_require(q->spec.cwd == NULL || glob_path_plain(q->spec.cwd));
	}
	if (r->act == POLICY_FILE_READ || r->act == POLICY_FILE_WRITE)
		fuzz_require(glob_path_plain(r->path));
	if (r->act != POLICY_FILES)
		return;
	fuzz_require(r->user[0] != '\0');
	for (size_t i = 0; i < r->n_reads; i++)
		fuzz_require(glob_path_plain(r->reads[i]));
	for (size_t i = 0; i < r->n_writes; i++)
		fuzz_require(glob_path_plain(r->writes[i]));
	for (size_t i = 0; i < r->n_watches; i++)
		fuzz_require(glob_path_plain(r->watches[i]));
}

static void decide(const struct policy *p, struct fuzz_input *in)
{
	struct policy_file_role roles[2];
	struct policy_decision d, again;
	struct request q;

	take_request(&q, in);
	fill(&q, in);
	policy_decide(p, &q.r, &d);
	fuzz_require(d.rule[0] != '\0' && (d.allowed || d.why[0] != '\0'));
	if (d.allowed)
		check_allowed(p, &q);
	policy_decide(p, &q.r, &again);
	fuzz_require(d.allowed == again.allowed && strcmp(d.rule, again.rule) == 0);
	policy_file_roles(p, q.identity, q.user, roles, 2);
	policy_any_process(p, q.identity, q.method);
	policy_rates(p, q.identity);
	free_request(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct policy *p = NULL;
	size_t len;
	const uint8_t *text = fuzz_until(&in, '\f', &len);
	const bool own = len == 0;
	char *copy; /* no NUL behind it */
	int rc;

	if (own) {
		text = (const uint8_t *)whole;
		len = sizeof(whole) - 1;
	}
	copy = xmalloc(len);
	memcpy(copy, text, len);
	problems = 0;
	rc = policy_parse(&p, copy, len, "policy.conf", count_problem, NULL);
	/* Whoever reads a policy that is not taken is told why. */
	fuzz_require((rc == 0) == (problems == 0));
	fuzz_require(rc == 0 || !own);
	if (rc == 0)
		decide(p, &in);
	policy_free(p);
	free(copy);
	return 0;
}
