# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2154,SC3013
#
# Shared by quickstart and quickcheck: installs what is missing, then configures and builds in $build.
# Sourced, with $me set to the script's name. Nothing is installed when nothing is missing.

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$*"; exit 1; }

jobs_count() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

# "what it is for|how to see that it is there|Debian package", one a line.
build_needs() {
	cat <<'LIST'
C compiler|cmd cc|gcc
C library headers|header stdio.h|libc6-dev
make|cmd make|make
pkg-config|cmd pkg-config|pkg-config
libevent >= 2.1|pkg libevent_core >= 2.1 libevent_extra >= 2.1 libevent_openssl >= 2.1|libevent-dev
OpenSSL >= 3.0|pkg libssl >= 3.0|libssl-dev
nghttp2 >= 1.43|pkg libnghttp2 >= 1.43|libnghttp2-dev
protobuf-c >= 1.4|pkg libprotobuf-c >= 1.4|libprotobuf-c-dev
libconfuse >= 3.3|pkg libconfuse >= 3.3|libconfuse-dev
jansson >= 2.13|pkg jansson >= 2.13|libjansson-dev
libmd >= 1.0|pkg libmd >= 1.0|libmd-dev
libseccomp >= 2.5|pkg libseccomp >= 2.5|libseccomp-dev
SQLite >= 3.34|pkg sqlite3 >= 3.34|libsqlite3-dev
xxHash >= 0.8|pkg libxxhash >= 0.8|libxxhash-dev
zlib|pkg zlib|zlib1g-dev
zstd >= 1.4|pkg libzstd >= 1.4|libzstd-dev
librsync >= 2.3|header librsync.h|librsync-dev
LIST
	if [ ! -x configure ] || [ -e .git ]; then
		cat <<'LIST'
autoconf|cmd autoreconf|autoconf
automake|cmd automake|automake
libtool|cmd libtoolize|libtool
pkg-config macros|file /usr/share/aclocal/pkg.m4|pkg-config
protoc-c|cmd protoc-c|protobuf-c-compiler
protobuf's own .proto files|file /usr/include/google/protobuf/any.proto|libprotobuf-dev
LIST
	fi
}

check_needs() {
	cat <<'LIST'
cmocka >= 1.1|pkg cmocka >= 1.1|libcmocka-dev
Python 3|cmd python3|python3
gRPC for Python|python grpc|python3-grpcio
protoc for Python|python grpc_tools|python3-grpc-tools
HTTP/2 for Python|python h2|python3-h2
cryptography for Python|python cryptography|python3-cryptography
pkg_resources for Python|python pkg_resources|python3-pkg-resources
ps|cmd ps|procps
tmux|cmd tmux|tmux
vi|cmd vi|vim-tiny
strace|cmd strace|strace
valgrind|cmd valgrind|valgrind
address sanitizer|sanitizer|libc6-dev
LIST
	# What is only run where everything must run.
	if [ -n "${TELEX_CHECK_ALL:-}" ]; then
		cat <<'LIST'
node|cmd node|nodejs
npm|cmd npm|npm
certificates for npm|file /etc/ssl/certs/ca-certificates.crt|ca-certificates
clang-format|cmd clang-format|clang-format
cppcheck|cmd cppcheck|cppcheck
LIST
	fi
}

# The Python that Debian's modules are installed for comes first: another may be in front of it in PATH.
find_python() {
	for python in ${PYTHON:-} /usr/bin/python3 python3; do
		if command -v "$python" >/dev/null 2>&1 && "$python" -c "import $1" >/dev/null 2>&1; then
			echo "$python"
			return 0
		fi
	done
	return 1
}

# have HOW: whether one need is there.
have() {
	kind=${1%% *}
	what=${1#* }
	case $kind in
	cmd) command -v "$what" >/dev/null 2>&1 ;;
	pkg) pkg-config --exists "$what" >/dev/null 2>&1 ;;
	file) [ -e "$what" ] ;;
	header) printf '#include <%s>\n' "$what" | cc -E - >/dev/null 2>&1 ;;
	python) find_python "$what" >/dev/null ;;
	sanitizer) printf 'int main(void){return 0;}' | cc -fsanitize=address,undefined -x c -o /dev/null - >/dev/null 2>&1 ;;
	*) return 1 ;;
	esac
}

# missing LIST-FUNCTION…: sets $lack (people's words) and $lack_debian (packages).
missing() {
	lack=
	lack_debian=
	list=$(for f in "$@"; do "$f"; done)
	old_ifs=$IFS
	IFS='
'
	for line in $list; do
		name=${line%%|*}
		rest=${line#*|}
		how=${rest%|*}
		package=${rest##*|}
		IFS=$old_ifs
		if ! have "$how"; then
			lack="$lack, $name"
			case " $lack_debian " in *" $package "*) ;; *) lack_debian="$lack_debian $package" ;; esac
		fi
		IFS='
'
	done
	IFS=$old_ifs
	lack=${lack#, }
	lack_debian=${lack_debian# }
}

# install_missing LIST-FUNCTION…
install_missing() {
	missing "$@"
	[ -n "$lack" ] || return 0
	say "missing: $lack"
	command -v apt-get >/dev/null 2>&1 ||
		die "this is not a Debian system: install the above with your package manager (Debian calls them: $lack_debian), then run ./$me again"
	as_root=
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null 2>&1 ||
			die "not root and no sudo: run 'apt-get install $lack_debian' as root, then ./$me again"
		as_root=sudo
	fi
	say "installing: $lack_debian"
	log=$(mktemp)
	# shellcheck disable=SC2086
	if ! { $as_root apt-get update -qq &&
		$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $lack_debian; } \
		>"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		die "apt-get could not install: $lack_debian (its words are above)"
	fi
	rm -f "$log"
	missing "$@"
	[ -z "$lack" ] || die "still missing after the installation: $lack"
}

# logged STEP COMMAND…: runs it with its output in $build/STEP.log, shown when it fails.
logged() {
	step=$1
	shift
	if ! "$@" >"$build/$step.log" 2>&1; then
		tail -n 30 "$build/$step.log" >&2
		die "$step failed; the whole output is in $build/$step.log"
	fi
}

# build_tree CONFIGURE-ARGUMENT…: a build in $build, made anew only where needed.
build_tree() {
	mkdir -p "$build"
	if [ -e .git ] || [ ! -x configure ]; then
		if [ ! -x configure ] || [ configure.ac -nt configure ] || [ m4/telex.m4 -nt configure ] ||
			[ -n "$(find . -name 'Makefile.inc' -newer configure -print 2>/dev/null)" ] ||
			[ Makefile.am -nt configure ]; then
			logged bootstrap ./bootstrap
		fi
	fi
	source_dir=$(pwd)
	if [ ! -f "$build/Makefile" ] || [ configure -nt "$build/config.status" ] ||
		[ "$(cat "$build/.arguments" 2>/dev/null)" != "$*" ]; then
		if ! (cd "$build" && "$source_dir/configure" "$@") >"$build/configure.log" 2>&1; then
			tail -n 15 "$build/configure.log" >&2
			die "configure failed; the whole output is in $build/configure.log"
		fi
		printf '%s' "$*" >"$build/.arguments"
	fi
	logged make make -C "$build" -j"$(jobs_count)"
}
