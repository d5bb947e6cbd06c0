/* SPDX-License-Identifier: Apache-2.0 */
/* `telex watch`: changes of the agent's files, as they happen. */
#include "cli/verbs.h"
#include "cli/watch.h"
#include "cli/watch_queue.h"

static int run(struct cli *cli, int argc, char **argv)
{
	static void *(*const makes[])(struct watch *) = {[WATCH_LINES] = watch_lines_new,
	    [WATCH_EXEC] = watch_local_new,
	    [WATCH_EXEC_REMOTE] = watch_remote_new,
	    [WATCH_MIRROR] = watch_mirror_new};
	struct watch_options o;
	int status;

	if (watch_options_parse(&o, cli, &cmd_watch, argc, argv, &status) == 0)
		status = watch_run(
		    cli, &o, o.way == WATCH_LINES ? &watch_lines : &watch_queue_way, makes[o.way]);
	watch_options_free(&o);
	return status;
}

const struct cli_verb cmd_watch = {
    .name = "watch",
    .summary = "changes of files on the agent, as they happen",
    .specs = watch_options_specs,
    .help =
        "Examples:\n"
        "  telex watch /etc/nginx                     a line for each change; Ctrl-C ends it\n"
        "  telex watch -r --exec 'make -C build' src/ a run after each change, one at a time\n"
        "  telex watch -r --exec 'grep -l TODO {}' src/   with the names that changed\n"
        "  telex watch -r --exec-remote 'systemctl reload nginx' /etc/nginx\n"
        "  telex watch --sync site/ /srv/www/         keep a folder here like the one there\n"
        "  telex watch --count 1 --wait /run/app.pid  until it is there\n"
        "  telex watch -r -0 --paths src/ | xargs -0 -n1 echo\n"
        "  telex --json watch -r --since CLOCK src/ | jq -r 'select(.event==\"change\").path'\n"
        "\n"
        "Usage: telex watch [-r] [OPTIONS] PATH…\n"
        "\n"
        "Tells what changes in files and folders of the agent's, once all of it is watched (which "
        "is\n"
        "said on stderr): a line for each path with the time, what happened, and the path. What "
        "happens\n"
        "to a path again before it was told is one change. Nothing is missed while the connection "
        "is\n"
        "lost; where the kernel lost events, a rescan is said, and what differs follows.\n"
        "\n"
        "What is watched:\n"
        "  -r, --recursive       all below the PATHs\n"
        "      --depth N         so deep, and -r; 1: a folder's own entries\n"
        "      --include GLOB    only what one of these matches\n"
        "      --exclude GLOB    not what one of these matches, nor what is below it. As for sync\n"
        "      --across-mounts   also other file systems below a PATH\n"
        "      --allow-remote    also where other machines may change files (NFS, …), by looking\n"
        "      --wait            for PATHs that are not there yet\n"
        "  -u, --user USER       as this user on the agent\n"
        "\n"
        "What is told:\n"
        "      --kind KINDS      created, modified, closed (after writing), attributes, deleted, "
        "moved,\n"
        "                        root-gone, root-back; several with commas\n"
        "      --since CLOCK     what changed since an earlier watch of the same was at this "
        "clock\n"
        "      --state           first all that is there\n"
        "      --settle TIME     when nothing has changed for so long: 0, and with a command "
        "100ms\n"
        "      --max-delay TIME  but no later than so long after the first change: 10 times that\n"
        "  -0, --null            NUL instead of newlines, and nothing escaped\n"
        "      --paths           the paths alone\n"
        "\n"
        "What is done with it, instead of lines:\n"
        "      --exec COMMAND    run it here, by sh, with the names on its stdin, a line each (-0: "
        "a\n"
        "                        NUL); {} as a word of its own is the names as arguments. Never "
        "two at\n"
        "                        once: what comes meanwhile makes one more run. TELEX_CLOCK is "
        "the\n"
        "                        clock, TELEX_OVERFLOW is 1 after a rescan, else 0. Exclude what "
        "the\n"
        "                        COMMAND itself writes\n"
        "      --exec-remote COMMAND\n"
        "                        the same on the agent, as processes of a group, which is said\n"
        "      --sync LOCAL/     make the folder LOCAL like PATH, and keep it so (implies -r)\n"
        "      --delete          with --sync: remove also what was in LOCAL before and is not "
        "there\n"
        "\n"
        "When it ends:\n"
        "      --count N         after N changes, or N runs\n"
        "      --timeout TIME    after this time\n"
        "\n"
        "Ctrl-C ends it, and a COMMAND that runs; a second one does not wait for that. How to go "
        "on\n"
        "from where it was is said on stderr (--since).\n"
        "\n"
        "Exit status: 0 after --count, with a COMMAND the last run's (128+n when signal n ended "
        "it);\n"
        "124 for --timeout; 128+n when signal n ended telex; 125 when telex itself failed, or the "
        "agent\n"
        "refuses to watch.\n",
    .run = run,
};
