/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loader_name.h"

#include <string.h>

/* With * at the end alone. */
static const char *const patterns[] = {"LD_*", "_RLD*", "DYLD_*", "GCONV_PATH", "GLIBC_TUNABLES",
    "LOCPATH", "NLSPATH", "MALLOC_*", "LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES", "GETCONF_DIR",
    "RESOLV_*", "IFS", "CDPATH", "ENV", "BASH_ENV", "BASH_FUNC_*", "BASHOPTS", "SHELLOPTS", "PS4",
    "GLOBIGNORE", "PROMPT_COMMAND", "FPATH", "ZDOTDIR", "NULLCMD", "READNULLCMD", "TMPPREFIX",
    "TERMINFO", "TERMINFO_DIRS", "TERMPATH", "TERMCAP", "PERLIO_DEBUG", "PERLLIB", "PERL5LIB",
    "PERL5OPT", "PERL5DB", "PYTHONHOME", "PYTHONPATH", "PYTHONINSPECT", "PYTHONSTARTUP",
    "PYTHONUSERBASE", "RUBYLIB", "RUBYOPT", "NODE_OPTIONS", "NODE_PATH", "JAVA_TOOL_OPTIONS",
    "_JAVA_OPTIONS", "KRB5_CONFIG*", "OPENSSL_CONF", "OPENSSL_MODULES", "OPENSSL_ENGINES"};

bool loader_name(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		size_t n = strcspn(patterns[i], "*");

		if (len >= n && memcmp(name, patterns[i], n) == 0 &&
		    (len == n || patterns[i][n] == '*'))
			return true;
	}
	return false;
}
