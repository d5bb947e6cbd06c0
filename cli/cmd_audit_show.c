/* SPDX-License-Identifier: Apache-2.0 */
/* `telex audit show`: the records, in words or as they are. */
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/audit_words.h"
#include "cli/cmd_audit.h"
#include "cli/output.h"
#include "cli/say.h"
#include "common/duration.h"
#include "common/glob.h"
#include "common/mem.h"

#define LOOK_NS 200000000 /* for more, with -f */

enum { OPT_SINCE = 1, OPT_IDENTITY, OPT_EVENT, OPT_FOLLOW };

static const struct options_spec specs[] = {
    {OPT_SINCE, '\0', "since", true},
    {OPT_IDENTITY, '\0', "identity", true},
    {OPT_EVENT, '\0', "event", true},
    {OPT_FOLLOW, 'f', "follow", false},
    {0},
};

struct show {
	const struct cli *cli;
	char since[40]; /* the beginning of a time as records have it; "": all */
	const char *identity, *event;
	bool follow;
	size_t unreadable;
};

/* "1h" ago, or "2026-01-31", "2026-01-31T12:00", … */
static int parse_since(struct show *s, const char *text, struct err *e)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	size_t n = strlen(text);
	int64_t ns;

	if (duration_parse(text, &ns) == 0) {
		output_time(s->since, sizeof(s->since), clock_realtime_ns() - ns);
		s->since[strcspn(s->since, "Z")] = '\0';
		return 0;
	}
	if (n > 0 && text[n - 1] == 'Z')
		n--;
	if (n >= 4 && n <= sizeof(form) - 1) {
		size_t i = 0;

		while (i < n &&
		       (form[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == form[i]))
			i++;
		if (i == n) {
			snprintf(s->since, sizeof(s->since), "%.*s", (int)n, text);
			return 0;
		}
	}
	return err_set(e, TX_EINVAL,
	    "'%s' is no time; as 1h or 90s (ago), or 2026-01-31 or 2026-01-31T12:00:00 (UTC)",
	    text);
}

static const char *text_of(const json_t *r, const char *key)
{
	const char *text = json_string_value(json_object_get(r, key));

	return text ? text : "";
}

static bool is_wanted(const struct show *s, const json_t *r)
{
	const char *who = text_of(r, "identity");

	if (!*who)
		who = text_of(r, "owner");
	if (s->event && strcmp(s->event, text_of(r, "event")) != 0)
		return false;
	if (s->identity && !glob_match(s->identity, who))
		return false;
	return strcmp(text_of(r, "time"), s->since) >= 0;
}

static void show_line(struct show *s, const char *line, size_t len)
{
	static const char head[] = "{\"writer\":";
	const char *next;
	json_t *r;

	/* What a full disk cut short stands before the next record. */
	while (len > sizeof(head) &&
	       (next = memmem(line + 1, len - 1, head, sizeof(head) - 1)) != NULL) {
		s->unreadable++;
		len -= (size_t)(next - line);
		line = next;
	}
	r = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(r)) {
		s->unreadable++;
	} else if (is_wanted(s, r)) {
		if (s->cli->json)
			output_json(json_incref(r));
		else
			audit_words_print(stdout, r);
	}
	json_decref(r);
}

/* All whole lines that are there. */
static void show_rest(struct show *s, FILE *in)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	while ((n = getline(&line, &room, in)) > 0) {
		if (line[n - 1] == '\n') {
			show_line(s, line, (size_t)n - 1);
			continue;
		}
		if (s->follow)
			fseek(in, -n, SEEK_CUR);
		else
			s->unreadable++;
		break;
	}
	clearerr(in);
	free(line);
}

static bool was_renamed(FILE *in, const char *path)
{
	struct stat open, named;

	return stat(path, &named) == 0 && fstat(fileno(in), &open) == 0 &&
	       (open.st_ino != named.st_ino || open.st_dev != named.st_dev);
}

static int follow(struct show *s, FILE *in, const char *path)
{
	for (;;) {
		static const struct timespec pause = {0, LOOK_NS};
		FILE *next;

		show_rest(s, in);
		if (fflush(stdout) != 0)
			return output_finish(CLI_OK);
		(void)nanosleep(&pause, NULL);
		if (!was_renamed(in, path) || !(next = fopen(path, "re")))
			continue;
		show_rest(s, in);
		fclose(in);
		in = next;
	}
}

static int show_file(struct show *s, const char *path, bool last, struct err *e)
{
	FILE *in = fopen(path, "re");

	if (!in)
		return err_sys(e, errno, "%s", path);
	if (last && s->follow)
		return follow(s, in, path);
	show_rest(s, in);
	fclose(in);
	return 0;
}

static int show_all(struct show *s, const struct options *o)
{
	const bool following = s->follow;
	char **files = NULL;
	struct err e;
	size_t n = 0;
	int rc = cmd_audit_files(o, &files, &n, &e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		s->follow = following && i + 1 == n;
		rc = show_file(s, files[i], i + 1 == n, &e);
	}
	cmd_audit_files_free(o, files);
	if (rc < 0)
		return cmd_audit_fail(&e);
	if (s->unreadable > 0)
		say_note(
		    "audit: %zu lines are no records; see `telex audit verify`", s->unreadable);
	return output_finish(rc);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct show s = {.cli = cli};
	struct options o;
	const char *value;
	struct err e;
	int id, status;

	options_start(&o, cli, &cmd_audit_show, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (id == OPT_SINCE && parse_since(&s, value, &e) != 0) {
			options_wrong(&o, id, &e);
			return options_end(&o);
		}
		if (id == OPT_IDENTITY)
			s.identity = value;
		else if (id == OPT_EVENT)
			s.event = value;
		else if (id == OPT_FOLLOW)
			s.follow = true;
	}
	if (id < 0)
		return options_end(&o);
	status = show_all(&s, &o);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_audit_show = {
    .name = "audit show",
    .summary = "the records of an audit log, a line each",
    .help = "Examples:\n"
            "  telex audit show --since 1h\n"
            "  telex audit show --event start --identity 'spiffe://lab.example/user/*'\n"
            "  telex audit show -f\n"
            "  telex audit show --json --since 2026-01-31 /var/lib/telexd/exec.log\n"
            "\n"
            "Usage: telex audit show [OPTIONS] [FILE]...\n"
            "\n"
            "      --since TIME     not older: 1h, 90s (ago), 2026-01-31, 2026-01-31T12:00:00\n"
            "                       (UTC)\n"
            "      --identity GLOB  of these clients: * is any text without /, ** any text\n"
            "      --event EVENT    only these: handshake, call, start, signal, exit, …\n"
            "  -f, --follow         go on as records are written\n"
            "\n"
            "With --json each record is a line of JSON, as it is in the file.\n",
    .specs = specs,
    .run = run,
};
