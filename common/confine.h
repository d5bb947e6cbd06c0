/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process of the agent locks itself in, once it holds all that it needs: the steps, and a
 * report of what is in force and why what is not. Nothing of it can be taken back.
 */
#ifndef TX_COMMON_CONFINE_H
#define TX_COMMON_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define CONFINE_MEASURES_MAX 12
#define CONFINE_CALLS_MAX    128

struct confine_measure {
	const char *name; /* as Confinement.name in system.proto */
	bool in_force;
	char note[96]; /* details, or why not */
};

struct confine_report {
	size_t n;
	struct confine_measure list[CONFINE_MEASURES_MAX];
};

void confine_note(struct confine_report *r, const char *name, bool in_force, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* no_new_privs, not dumpable, no core files. TX_ESYS. */
int confine_give_up(struct confine_report *r, struct err *e);
/* No capabilities, in no set. TX_EPERM when there are some; with `drop` they are given up first. */
int confine_capabilities(struct confine_report *r, bool drop, struct err *e);
/* uid and gid in all their forms, and no other groups. TX_EPERM. */
int confine_ids(struct confine_report *r, uint32_t uid, uint32_t gid, struct err *e);

/* Only these, of those that there are, in no set but the permitted and the effective; no others can
 * be had again. */
int confine_keep_capabilities(struct confine_report *r, const int *kept, size_t n, struct err *e);

/* A folder that stays usable: below it, files may be read, written, made and removed. */
struct confine_folder {
	int fd;         /* the caller's */
	bool files;     /* folders, links and special files, too, and moving them */
	bool read_only; /* instead: no more than reading */
};

/*
 * Landlock(7): the file system is out of reach but for the folders, and so are TCP sockets, other
 * processes and abstract sockets as far as this kernel knows that. A kernel without is reported,
 * and no failure. TX_ESYS.
 */
int confine_paths(
    struct confine_report *r, const struct confine_folder *folders, size_t n, struct err *e);

/*
 * seccomp(2): the system calls of this list (names, NULL at its end, at most CONFINE_CALLS_MAX of
 * them) and no others. Another one kills the process by SIGSYS, and its name is on stderr before.
 * mmap and mprotect give no executable memory. A name that this machine does not have is passed
 * over. tgkill reaches this process alone. A build with a sanitizer cannot: reported. TX_ESYS.
 */
int confine_calls(
    struct confine_report *r, const char *program, const char *const *calls, struct err *e);
/* The same, and by ftruncate, fcntl and ioctl this descriptor cannot be reached (-1: none): opened
 * O_APPEND, it can only be appended to. */
int confine_calls_but(struct confine_report *r, const char *program, const char *const *calls,
    int appended_fd, struct err *e);

#endif
