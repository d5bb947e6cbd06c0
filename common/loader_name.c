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

/* Where a command is looked for; what is run to edit, to page, to connect, to build; and where a
 * configuration is read from that says such things. */
static const char *const programs[] = {"PATH", "HOME", "SHELL", "XDG_CONFIG_*", "XDG_DATA_*",
    "PAGER", "MANPAGER", "MANROFF*", "SYSTEMD_PAGER*", "SYSTEMD_EDITOR", "SYSTEMD_LESS", "LESS",
    "LESSOPEN", "LESSCLOSE", "LESSEDIT", "LESSKEY*", "MORE", "EDITOR", "VISUAL", "FCEDIT",
    "SELECTED_EDITOR", "SUDO_EDITOR", "SUDO_ASKPASS", "SSH_ASKPASS*", "BROWSER", "MAILCAPS",
    "VIMINIT", "GVIMINIT", "EXINIT", "NEXINIT", "MYVIMRC", "VIM", "VIMRUNTIME", "EMACSLOADPATH",
    "GIT_*", "HG", "HGRCPATH", "HGEDITOR", "HGPLAIN*", "SVN_SSH", "SVN_EDITOR", "CVS_RSH",
    "RSYNC_*", "TAR_OPTIONS", "RSH", "ZIPOPT", "INFOZIP", "APT_CONFIG", "DPKG_*", "MAKEFLAGS",
    "MFLAGS", "MAKEFILES", "GNUMAKEFLAGS", "MAKE", "CC", "CXX", "CPP", "AR", "LD", "AS",
    "GCC_EXEC_PREFIX", "COMPILER_PATH", "CMAKE_*", "CCACHE_*", "RUSTC*", "CARGO*", "RUSTUP_*",
    "GOENV", "GOFLAGS", "GOROOT", "GOPATH", "GOBIN", "GOTOOLDIR", "NPM_*", "npm_*", "YARN_*",
    "PIP_*", "BUNDLE_*", "GEM_*", "RUBYSHELL", "PERL5SHELL", "PYTHON*", "ERL_*",
    "ELIXIR_ERL_OPTIONS", "DOTNET_*", "CORECLR_*", "BASH_LOADABLES_PATH", "LUA_*", "PHPRC",
    "PHP_INI_SCAN_DIR", "TCLLIBPATH", "GUILE_*", "R_PROFILE*", "R_ENVIRON*", "R_LIBS*", "JULIA_*",
    "AWKPATH", "AWKLIBPATH", "CLASSPATH", "JDK_JAVA_OPTIONS", "JAVA_HOME", "JAVA_OPTS", "MAVEN_*",
    "GRADLE_*", "ANT_*", "GTK_MODULES", "GTK_PATH", "GIO_EXTRA_MODULES", "GIO_MODULE_DIR",
    "GST_PLUGIN_*", "QT_PLUGIN_PATH", "GNUPGHOME", "PSQLRC", "PSQL_*", "PGSERVICEFILE",
    "PGSYSCONFDIR", "MYSQL_HOME", "LIBMYSQL_PLUGIN*", "ODBCINI", "ODBCSYSINI", "ODBCINSTINI",
    "SASL_PATH", "SASL_CONF_PATH", "DOCKER_*", "CONTAINERS_*", "KUBECONFIG", "KUBE_*",
    "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "CLOUDSDK_*", "ANSIBLE_*", "TF_*", "TEXMF*",
    "SCREENRC", "FZF_*", "WGETRC", "CURL_HOME", "INPUTRC", "MAILRC", "RIPGREP_CONFIG_PATH",
    "NMAPDIR", "MAGICK_*"};

static bool is_among(const char *const *list, size_t count, const char *name, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		size_t n = strcspn(list[i], "*");

		if (len >= n && memcmp(name, list[i], n) == 0 && (len == n || list[i][n] == '*'))
			return true;
	}
	return false;
}

bool loader_name(const char *name, size_t len)
{
	return is_among(patterns, sizeof(patterns) / sizeof(patterns[0]), name, len);
}

bool program_name(const char *name, size_t len)
{
	return loader_name(name, len) ||
	       is_among(programs, sizeof(programs) / sizeof(programs[0]), name, len);
}
