/* SPDX-License-Identifier: Apache-2.0 */
/* See sandbox.h. The keeper has changed the uid already; here nothing is taken on trust. */
#include "agent/worker/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The leak checker of a sanitizer build looks at its own process by ptrace. */
#if defined(__SANITIZE_ADDRESS__)
#define KEEP_DUMPABLE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEP_DUMPABLE 1
#endif
#endif
#ifndef KEEP_DUMPABLE
#define KEEP_DUMPABLE 0
#endif

static int give_up(struct err *e)
{
	const struct rlimit none = {0, 0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_sys(e, errno, "no_new_privs");
	if (!KEEP_DUMPABLE && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return err_sys(e, errno, "dumpable");
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		return err_sys(e, errno, "core limit");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return err_set(e, TX_EPERM, "no_new_privs is not in force");
	return 0;
}

static int check_ids(uid_t uid, gid_t gid, struct err *e)
{
	uid_t r, f, s;
	gid_t rg, fg, sg, group;
	int n;

	if (uid == 0 || gid == 0)
		return err_set(e, TX_EPERM, "a worker may not be root");
	if (getresuid(&r, &f, &s) != 0 || getresgid(&rg, &fg, &sg) != 0)
		return err_sys(e, errno, "user and group");
	if (r != uid || f != uid || s != uid)
		return err_set(e, TX_EPERM, "runs as uid %u/%u/%u, not %u", r, f, s, uid);
	if (rg != gid || fg != gid || sg != gid)
		return err_set(e, TX_EPERM, "runs as gid %u/%u/%u, not %u", rg, fg, sg, gid);
	n = getgroups(1, &group);
	if (n < 0 || n > 1 || (n == 1 && group != gid))
		return err_set(e, TX_EPERM, "has other groups than %u", gid);
	return 0;
}

static int check_capabilities(struct err *e)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (syscall(SYS_capget, &head, sets) != 0)
		return err_sys(e, errno, "capabilities");
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if ((sets[i].effective | sets[i].permitted | sets[i].inheritable) != 0)
			return err_set(e, TX_EPERM, "holds capabilities");
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
			return err_set(e, TX_EPERM, "holds ambient capability %d", cap);
	return 0;
}

int sandbox_enter(bool drop, uint32_t uid, uint32_t gid, struct err *e)
{
	int rc = give_up(e);

	if (rc == 0 && drop)
		rc = check_ids(uid, gid, e);
	if (rc == 0 && drop)
		rc = check_capabilities(e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}
