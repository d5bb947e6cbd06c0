/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fs_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/output.h"
#include "cli/values.h"
#include "common/duration.h"
#include "common/escape.h"
#include "common/mem.h"

#define HALF_YEAR_NS (INT64_C(15778476) * NS_PER_S)

static const struct {
	char letter;
	const char *name;
} types[] = {
    [TELEX_FILE_UNKNOWN] = {'?', "unknown"},
    [TELEX_FILE_REGULAR] = {'-', "file"},
    [TELEX_FILE_DIRECTORY] = {'d', "folder"},
    [TELEX_FILE_SYMLINK] = {'l', "link"},
    [TELEX_FILE_FIFO] = {'p', "fifo"},
    [TELEX_FILE_SOCKET] = {'s', "socket"},
    [TELEX_FILE_CHARACTER_DEVICE] = {'c', "character device"},
    [TELEX_FILE_BLOCK_DEVICE] = {'b', "block device"},
};

const char *fs_words_type(enum telex_file_type type)
{
	return types[type].name;
}

/* x or -, and with a special bit the letter, small where it may be executed. */
static char execute(uint32_t mode, uint32_t bit, uint32_t special, char letter)
{
	const bool may = (mode & bit) != 0;

	if ((mode & special) == 0)
		return may ? 'x' : '-';
	return may ? letter : (char)(letter - 'a' + 'A');
}

char *fs_words_mode(char out[12], enum telex_file_type type, uint32_t mode)
{
	static const char letters[] = "rwxrwxrwx";

	out[0] = types[type].letter;
	for (unsigned i = 0; i < 9; i++)
		out[i + 1] = (mode & (0400U >> i)) != 0 ? letters[i] : '-';
	out[3] = execute(mode, 0100, 04000, 's');
	out[6] = execute(mode, 0010, 02000, 's');
	out[9] = execute(mode, 0001, 01000, 't');
	out[10] = '\0';
	return out;
}

char *fs_words_size(char *out, size_t size, uint64_t bytes, bool human)
{
	static const char units[] = "KMGTPE";
	uint64_t unit = 1024, tenths;
	size_t i = 0;

	if (!human || bytes < 1024) {
		snprintf(out, size, "%" PRIu64, bytes);
		return out;
	}
	while (units[i + 1] != '\0' && (bytes - 1) / unit >= 1023) {
		unit *= 1024;
		i++;
	}
	tenths = bytes % unit / (unit / 1024) * 10;
	tenths = bytes / unit * 10 + (tenths + 1023) / 1024;
	if (tenths < 100)
		snprintf(
		    out, size, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10, units[i]);
	else
		snprintf(out, size, "%" PRIu64 "%c", bytes / unit + (bytes % unit != 0), units[i]);
	return out;
}

char *fs_words_date(char *out, size_t size, int64_t ns, int64_t now_ns)
{
	const time_t seconds = (time_t)(ns / NS_PER_S - (ns % NS_PER_S < 0));
	const bool recent = ns <= now_ns && ns > now_ns - HALF_YEAR_NS;
	struct tm tm;

	if (!localtime_r(&seconds, &tm) ||
	    strftime(out, size, recent ? "%b %e %H:%M" : "%b %e  %Y", &tm) == 0)
		snprintf(out, size, "?");
	return out;
}

const char *fs_words_owner(char *out, size_t size, const char *name, uint32_t number)
{
	if (name[0])
		return name;
	snprintf(out, size, "%" PRIu32, number);
	return out;
}

/* ---- names ---- */

char *fs_words_name(const char *path, bool terminal)
{
	size_t len = strlen(path), need;
	char *out;

	if (!terminal)
		return xstrdup(path);
	need = escape_text(NULL, 0, path, len) + 1;
	out = xmalloc(need);
	escape_text(out, need, path, len);
	return out;
}

char *fs_words_sum(const char *hex, const char *path)
{
	const bool escapes = strpbrk(path, "\n\r\\") != NULL;
	char *name = xmalloc(2 * strlen(path) + 1), *to = name, *line;

	for (; *path; path++) {
		if (*path == '\n' || *path == '\r' || *path == '\\')
			*to++ = '\\';
		*to++ = *path == '\n' ? 'n' : *path == '\r' ? 'r' : *path;
	}
	*to = '\0';
	line = xasprintf("%s%s  %s", escapes ? "\\" : "", hex, name);
	free(name);
	return line;
}

char *fs_words_join(const char *folder, const char *name)
{
	const size_t len = strlen(folder);

	if (!name[0] || !len)
		return xstrdup(name[0] ? name : folder);
	return xasprintf("%s%s%s", folder, folder[len - 1] == '/' ? "" : "/", name);
}

char *fs_words_base(const char *path)
{
	size_t end = strlen(path), begin;

	while (end > 1 && path[end - 1] == '/')
		end--;
	begin = end;
	while (begin > 0 && path[begin - 1] != '/')
		begin--;
	return xmemdup0(path + begin, end - begin);
}

/* ---- JSON ---- */

void fs_words_path_json(json_t *object, const char *key, const char *path)
{
	json_t *exact = json_string(path);
	char *name, *text;

	json_object_set_new(object, key, output_json_text(path));
	if (exact) {
		json_decref(exact);
		return;
	}
	name = xasprintf("%s_base64", key);
	text = output_base64(path, strlen(path));
	json_object_set_new(object, name, json_string(text));
	free(name);
	free(text);
}

static void set_number(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void set_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, output_json_text(value));
}

/* Nanoseconds, so that nothing is lost; and for people. */
static void set_time(json_t *o, const char *key, int64_t ns)
{
	char *name = xasprintf("%s_ns", key), text[32];

	json_object_set_new(o, name, json_integer((json_int_t)ns));
	set_text(o, key, output_time(text, sizeof(text), ns));
	free(name);
}

static void set_device(json_t *o, const char *key, uint32_t major, uint32_t minor)
{
	json_object_set_new(o, key, json_pack("[I,I]", (json_int_t)major, (json_int_t)minor));
}

static void set_lists(json_t *o, const struct telex_file *f)
{
	json_t *list = json_array();

	for (size_t i = 0; i < f->n_flags; i++)
		json_array_append_new(list, output_json_text(f->flags[i]));
	json_object_set_new(o, "attributes", list);
	if (f->n_extended == 0)
		return;
	list = json_object();
	for (size_t i = 0; i < f->n_extended; i++) {
		char *value = output_base64(f->extended[i].value, f->extended[i].len);
		char *name = fs_words_name(f->extended[i].name, true);

		json_object_set_new(list, name, json_string(value));
		free(name);
		free(value);
	}
	json_object_set_new(o, "extended_attributes_base64", list);
}

json_t *fs_words_json(const struct telex_file *f, const char *path)
{
	json_t *o = json_object();
	char mode[12];

	fs_words_path_json(o, "path", path);
	set_text(o, "type", fs_words_type(f->type));
	snprintf(mode, sizeof(mode), "%04o", (unsigned)f->mode);
	set_text(o, "mode", mode);
	set_number(o, "uid", f->uid);
	set_number(o, "gid", f->gid);
	set_text(o, "user", f->user);
	set_text(o, "group", f->group);
	set_number(o, "size", f->size);
	set_number(o, "blocks", f->blocks);
	set_number(o, "block_size", f->block_size);
	set_number(o, "links", f->links);
	set_number(o, "inode", f->inode);
	set_device(o, "device", f->device_major, f->device_minor);
	if (f->type == TELEX_FILE_CHARACTER_DEVICE || f->type == TELEX_FILE_BLOCK_DEVICE)
		set_device(o, "rdev", f->rdev_major, f->rdev_minor);
	set_time(o, "modified", f->modified_ns);
	set_time(o, "accessed", f->accessed_ns);
	set_time(o, "changed", f->changed_ns);
	if (f->has_created)
		set_time(o, "created", f->created_ns);
	if (f->type == TELEX_FILE_SYMLINK)
		fs_words_path_json(o, "link_target", f->link_target);
	set_lists(o, f);
	return o;
}

/* ---- what is typed ---- */

int fs_words_octal(const char *text, unsigned *mode, struct err *e)
{
	unsigned long value = 0;

	if (text[0] && strlen(text) <= 8 && strspn(text, "01234567") == strlen(text))
		value = strtoul(text, NULL, 8);
	else
		value = 010000;
	if (value > 07777)
		return err_set(e, TX_EINVAL, "'%s' is no mode: octal, as 755; 0 to 7777", text);
	*mode = (unsigned)value;
	return 0;
}

int fs_words_bytes(const char *text, uint64_t *bytes, struct err *e)
{
	if (text[0] && strspn(text, "0") == strlen(text)) {
		*bytes = 0;
		return 0;
	}
	return values_size(text, bytes, e);
}

int fs_words_owners(
    char *text, const char **owner, const char **group, bool *login_group, struct err *e)
{
	char *colon = strchr(text, ':');

	if (!text[0] || strcmp(text, ":") == 0 || (colon && strchr(colon + 1, ':')))
		return err_set(e, TX_EINVAL,
		    "'%s' is no owner: USER, USER:GROUP or :GROUP, names or numbers, or USER: with "
		    "its login group",
		    text);
	*owner = text[0] != ':' ? text : NULL;
	*group = colon && colon[1] ? colon + 1 : NULL;
	*login_group = colon && !colon[1];
	if (colon)
		*colon = '\0';
	return 0;
}
