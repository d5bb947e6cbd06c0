/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main of a fuzz target where there is no libFuzzer: runs it with each file of its seeds
 * (tests/fuzz/corpus/NAME), or with the files that were given, and says so in TAP. The first input
 * is always the empty one.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/fuzz/fuzz.h"

static unsigned number;

/* A copy without a byte to spare, so that a sanitizer and valgrind see what is read behind it. */
static void run(const char *name, const char *data, size_t len)
{
	uint8_t *copy = xmalloc(len > 0 ? len : 1);

	/* Said before: what crashes is the one that was named last. */
	printf("# %s\n", name);
	fflush(stdout);
	if (len > 0)
		memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	printf("ok %u - %s\n", ++number, name);
	fflush(stdout);
}

static void fail(const char *name, const char *why)
{
	printf("not ok %u - %s: %s\n", ++number, name, why);
}

static void run_file(const char *path)
{
	const char *slash = strrchr(path, '/');
	FILE *f = fopen(path, "rb");
	char *data = NULL;
	size_t len = 0, room = 0, n = 0;

	if (f == NULL) {
		fail(path, strerror(errno));
		return;
	}
	do {
		len += n;
		if (len == room)
			data = xreallocarray(data, room = 2 * room + 4096, 1);
		n = fread(data + len, 1, room - len, f);
	} while (n > 0);
	if (ferror(f))
		fail(path, "it cannot be read");
	else
		run(slash != NULL ? slash + 1 : path, data, len);
	fclose(f);
	free(data);
}

static int no_dot(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void run_seeds(const char *target)
{
	const char *top = getenv("top_srcdir");
	char *folder = xasprintf("%s/tests/fuzz/corpus/%s", top != NULL ? top : ".", target);
	struct dirent **names = NULL;
	int n = scandir(folder, &names, no_dot, alphasort);

	if (n <= 0)
		fail(folder,
		    "there are no seeds (top_srcdir in the environment says where to look)");
	for (int i = 0; i < n; i++) {
		char *path = xasprintf("%s/%s", folder, names[i]->d_name);

		run_file(path);
		free(path);
		free(names[i]);
	}
	free(names);
	free(folder);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash != NULL ? slash + 1 : argv[0];

	run("nothing", "", 0);
	if (argc == 1)
		run_seeds(strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	printf("1..%u\n", number);
	return 0;
}
