/* SPDX-License-Identifier: Apache-2.0 */
/* See confine.h. Each step checks that it is in force: nothing is taken on trust. */
#include "common/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine_internal.h"

void confine_note(struct confine_report *r, const char *name, bool in_force, const char *fmt, ...)
{
	struct confine_measure *m;
	va_list ap;

	if (r == NULL || r->n == CONFINE_MEASURES_MAX)
		return;
	m = &r->list[r->n++];
	m->name = name;
	m->in_force = in_force;
	va_start(ap, fmt);
	vsnprintf(m->note, sizeof(m->note), fmt, ap);
	va_end(ap);
}

int confine_give_up(struct confine_report *r, struct err *e)
{
	const struct rlimit none = {0, 0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_sys(e, errno, "no_new_privs");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(e, TX_EPERM, "no_new_privs is not in force");
	confine_note(r, "no-new-privileges", true, "%s", "");
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return err_sys(e, errno, "core limit");
	confine_note(r, "core-limit", true, "0");
	/* The leak checker of a sanitizer looks at its own process by ptrace. */
	if (!CONFINE_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return err_sys(e, errno, "dumpable");
	confine_note(r, "not-dumpable", !CONFINE_SANITIZED, "%s",
	    CONFINE_SANITIZED ? "built with a sanitizer" : "");
	return 0;
}

int confine_ids(struct confine_report *r, uint32_t uid, uint32_t gid, struct err *e)
{
	uid_t real, effective, saved;
	gid_t rg, eg, sg, group;
	int n;

	if (getresuid(&real, &effective, &saved) != 0 || getresgid(&rg, &eg, &sg) != 0)
		return err_sys(e, errno, "user and group");
	if (real != uid || effective != uid || saved != uid)
		return err_set(
		    e, TX_EPERM, "runs as uid %u/%u/%u, not %u", real, effective, saved, uid);
	if (rg != gid || eg != gid || sg != gid)
		return err_set(e, TX_EPERM, "runs as gid %u/%u/%u, not %u", rg, eg, sg, gid);
	n = getgroups(1, &group);
	if (n < 0 || n > 1 || (n == 1 && group != gid))
		return err_set(e, TX_EPERM, "has other groups than %u", gid);
	confine_note(r, "own-user", true, "uid %u", uid);
	return 0;
}

static int drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) != 0)
		return err_sys(e, errno, "capabilities");
	return 0;
}

int confine_keep_capabilities(struct confine_report *r, const int *kept, size_t n, struct err *e)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
	uint32_t keep[_LINUX_CAPABILITY_U32S_3] = {0};

	for (size_t i = 0; i < n; i++)
		keep[CAP_TO_INDEX(kept[i])] |= CAP_TO_MASK(kept[i]);
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap >= 32 * _LINUX_CAPABILITY_U32S_3 ||
		    (keep[CAP_TO_INDEX(cap)] & CAP_TO_MASK(cap)) == 0)
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &head, sets) != 0)
		return err_sys(e, errno, "capabilities");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		sets[i].permitted &= keep[i];
		sets[i].effective = sets[i].permitted;
		sets[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, sets) != 0)
		return err_sys(e, errno, "capabilities");
	confine_note(r, "few-capabilities", true, "%zu, for files", n);
	return 0;
}

int confine_capabilities(struct confine_report *r, bool drop, struct err *e)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
	int rc = drop ? drop_capabilities(e) : 0;

	if (rc != 0)
		return rc;
	if (syscall(SYS_capget, &head, sets) != 0)
		return err_sys(e, errno, "capabilities");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if ((sets[i].effective | sets[i].permitted | sets[i].inheritable) != 0)
			return err_set(e, TX_EPERM, "holds capabilities");
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
			return err_set(e, TX_EPERM, "holds ambient capability %d", cap);
	confine_note(r, "no-capabilities", true, "%s", "");
	return 0;
}
