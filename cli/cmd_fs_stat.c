/* SPDX-License-Identifier: Apache-2.0 */
/* `telex fs stat`: all that is known of files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/fs.h"
#include "cli/fs_words.h"
#include "cli/output.h"
#include "common/mem.h"

static const struct options_spec specs[] = {
    {'L', 'L', "dereference", false},
    {'x', 'x', "xattrs", false},
    FS_USER,
    {0},
};

struct looking {
	struct fs *fs;
	const char *path;
};

static void number_field(const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	output_field(name, text);
}

static void owner_field(const char *name, const char *owner, uint32_t number)
{
	char text[300];

	snprintf(text, sizeof(text), "%" PRIu32 "%s%s%s", number, owner[0] ? " (" : "", owner,
	    owner[0] ? ")" : "");
	output_field(name, text);
}

static void device_field(const char *name, uint32_t major, uint32_t minor)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu32 ":%" PRIu32, major, minor);
	output_field(name, text);
}

static void time_field(const char *name, int64_t ns)
{
	char text[32];

	output_field(name, output_time(text, sizeof(text), ns));
}

static void list_fields(const struct telex_file *file)
{
	for (size_t i = 0; i < file->n_flags; i++)
		output_field("attribute", file->flags[i]);
	for (size_t i = 0; i < file->n_extended; i++) {
		char *value = xmemdup0(file->extended[i].value, file->extended[i].len);
		char *text = xasprintf("%s=%s", file->extended[i].name, value);

		output_field("xattr", text);
		free(text);
		free(value);
	}
}

static void print_fields(const struct telex_file *file, const char *path)
{
	char text[32], mode[12];

	output_field("path", path);
	output_field("type", fs_words_type(file->type));
	if (file->type == TELEX_FILE_SYMLINK)
		output_field("target", file->link_target);
	number_field("size", file->size);
	snprintf(text, sizeof(text), "%04o (%s)", (unsigned)file->mode,
	    fs_words_mode(mode, file->type, file->mode));
	output_field("mode", text);
	owner_field("owner", file->user, file->uid);
	owner_field("group", file->group, file->gid);
	number_field("blocks of 512", file->blocks);
	number_field("links", file->links);
	number_field("inode", file->inode);
	device_field("device", file->device_major, file->device_minor);
	if (file->type == TELEX_FILE_CHARACTER_DEVICE || file->type == TELEX_FILE_BLOCK_DEVICE)
		device_field("is device", file->rdev_major, file->rdev_minor);
	time_field("modified", file->modified_ns);
	time_field("accessed", file->accessed_ns);
	time_field("changed", file->changed_ns);
	if (file->has_created)
		time_field("created", file->created_ns);
	list_fields(file);
}

static void on_file(const struct telex_file *file, void *arg)
{
	const struct looking *l = arg;

	if (l->fs->session.json)
		output_json(fs_words_json(file, l->path));
	else
		print_fields(file, l->path);
}

static void on_done(const struct telex_error *error, void *arg)
{
	const struct looking *l = arg;

	session_done(error, &l->fs->session);
}

static void one(struct fs *f, const char *path)
{
	const struct telex_stat_options options = {
	    .follow = f->on['L'], .extended_attributes = f->on['x']};
	struct looking l = {f, path};
	struct session *s = &f->session;

	fs_wait(f, path,
	    telex_file_stat(
	        s->client, fs_user(f), path, &options, 0, on_file, on_done, &l, &s->error));
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct fs f;

	if (fs_args(&f, cli, &cmd_fs_stat, 1, "which file?", argc, argv) && fs_open(&f))
		for (size_t i = 0; i < f.o.n_operands && !fs_stops(&f); i++)
			one(&f, f.o.operands[i]);
	return fs_end(&f);
}

const struct cli_verb cmd_fs_stat = {
    .name = "fs stat",
    .summary = "all that is known of files of the agent",
    .specs = specs,
    .help = "Examples:\n"
            "  telex fs stat /etc/hostname\n"
            "  telex --json fs stat -x app | jq .modified_ns\n"
            "\n"
            "Usage: telex fs stat [-L] [-x] [-u USER] PATH…\n"
            "\n"
            "  -L, --dereference  of what a link points to, and not of the link\n"
            "  -x, --xattrs       extended attributes, too, ACLs among them\n" FS_USER_HELP "\n"
            "Exit status: 1 when one of them failed (the others were done), 125 when the agent "
            "could not\n"
            "be asked.\n",
    .run = run,
};
