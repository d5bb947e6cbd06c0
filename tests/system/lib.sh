# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What every system test begins with: `. "${top_srcdir:-$(dirname "$0")/../..}/tests/system/lib.sh"`.
# Own home and temporary folder ($T), own agent on a free port, nothing left behind; TAP on stdout.
set -u
# By hand, in the build's folder, neither needs to be given; and whole paths, as a script goes elsewhere.
top_builddir=$(cd "${top_builddir:-$PWD}" && pwd) || exit 99
top_srcdir=$(cd "${top_srcdir:-$(dirname "$0")/../..}" && pwd) || exit 99
export top_builddir top_srcdir
# shellcheck disable=SC2034  # for the scripts
telex=$top_builddir/telex
if [ ! -x "$telex" ] || [ ! -x "$top_builddir/telexd" ]; then
	echo "1..0 # SKIP telex and telexd are not built"
	exit 0
fi
T=$(mktemp -d "${TMPDIR:-/tmp}/telex-system.XXXXXX") || exit 99
HOME=$T/home
XDG_CONFIG_HOME=$T/config
XDG_STATE_HOME=$T/state
export HOME XDG_CONFIG_HOME XDG_STATE_HOME
unset TELEX_CONTEXT TELEX_CONFIG_HOME || :
mkdir "$HOME"
tests_run=0
tests_failed=0

clean_up() {
	"$telex" -q dev --stop --dir "$T/dev" >"$T/stop.out" 2>&1 || cat "$T/stop.out" >&2
	rm -rf "$T"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# ok WHAT / not_ok WHAT [WHY…]: a test's outcome.
ok() {
	tests_run=$((tests_run + 1))
	echo "ok $tests_run - $1"
}
not_ok() {
	tests_run=$((tests_run + 1))
	tests_failed=$((tests_failed + 1))
	echo "not ok $tests_run - $1"
	shift
	[ $# -eq 0 ] || printf '%s\n' "$@" | sed 's/^/# /'
}

# check WHAT COMMAND…: passes when the command succeeds.
check() {
	what=$1
	shift
	if "$@" >"$T/check.out" 2>&1; then
		ok "$what"
	else
		not_ok "$what" "failed ($?): $*" "$(cat "$T/check.out")"
	fi
}

# same WHAT GOT WANTED
same() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "got:    $2" "wanted: $3"
	fi
}

# has WHAT TEXT PATTERN: the text matches the shell pattern.
has() {
	# shellcheck disable=SC2254
	case "$2" in
	$3) ok "$1" ;;
	*) not_ok "$1" "got:    $2" "wanted: $3" ;;
	esac
}

# poll_until SECONDS COMMAND…: tries until the command succeeds; fails at the deadline, which is six times as long for a
# machine that is slow, or busy with other tests.
poll_until() {
	poll_deadline=$(($(date +%s) + 6 * $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$poll_deadline" ] || return 1
		sleep 0.05
	done
}

start_agent() {
	"$telex" -q dev --detach --dir "$T/dev" "$@" >"$T/dev.out" 2>&1 && return
	echo "Bail out! the agent did not start"
	cat "$T/dev.out" >&2
	exit 1
}

# gone PID: no such process, or only its remains that nobody has collected yet.
gone() {
	! readlink "/proc/$1/exe" >/dev/null
}

agent_pid() {
	cut -d' ' -f1 "$T/dev/telexd.pid"
}

# The last line of every script.
done_testing() {
	echo "1..$tests_run"
	[ "$tests_failed" -eq 0 ]
	exit
}
