dnl SPDX-License-Identifier: Apache-2.0
dnl The macros of telex's configure. Each says what it does in one line.

dnl TX_C11: a compiler that speaks C11 with GNU extensions.
AC_DEFUN([TX_C11], [
AS_IF([test "x$ac_prog_cc_stdc" = xno],
      [AC_MSG_ERROR([this C compiler does not speak C11; set CC to gcc or clang])])
])

dnl TX_PKG_CONFIG: pkg-config itself; without it every library would seem to be missing.
AC_DEFUN([TX_PKG_CONFIG], [
PKG_PROG_PKG_CONFIG([0.29])
AS_IF([test -z "$PKG_CONFIG" || ! "$PKG_CONFIG" --version >/dev/null 2>&1],
      [AC_MSG_ERROR([pkg-config (0.29 or later) is missing; on Debian: apt-get install pkg-config, or let ./quickstart do it])])
])

dnl TX_PKG(PREFIX, MODULES, DEBIAN-PACKAGE): looks a library up; what is missing
dnl is collected, so that one run of configure names all of it.
AC_DEFUN([TX_PKG], [
PKG_CHECK_MODULES([$1], [$2], [], [AS_CASE([" $tx_missing "], [*" $3 "*], [], [tx_missing="$tx_missing $3"])
tx_missing_text="$tx_missing_text
  $2   (Debian: $3)"])
])

dnl TX_LIB(PREFIX, WORDS, LIBRARY, FUNCTION, DEBIAN-PACKAGE): the same for a library that brings no .pc file. It has
dnl the function since the version in the words.
AC_DEFUN([TX_LIB], [
AC_ARG_VAR([$1][_LIBS], [linker flags for $3])
tx_save="$LIBS"
AS_IF([test -z "$[$1]_LIBS"], [$1][_LIBS="-l$3"])
LIBS="$[$1]_LIBS $LIBS"
AC_CHECK_FUNC([$4], [], [tx_missing="$tx_missing $5"
tx_missing_text="$tx_missing_text
  $2   (Debian: $5)"])
LIBS="$tx_save"
])

dnl TX_PKG_CMOCKA: cmocka is for the tests alone; without it they are not built.
AC_DEFUN([TX_PKG_CMOCKA], [
PKG_CHECK_MODULES([CMOCKA], [cmocka >= 1.1], [tx_cmocka=yes], [tx_cmocka=no])
AM_CONDITIONAL([HAVE_CMOCKA], [test "x$tx_cmocka" = xyes])
])

dnl TX_PKG_REPORT: ends configure when a library was missing, naming each.
AC_DEFUN([TX_PKG_REPORT], [
AS_IF([test -n "$tx_missing"], [AC_MSG_ERROR([these libraries are missing, or too old:$tx_missing_text
On Debian: apt-get install$tx_missing
or let ./quickstart install them. If they are installed elsewhere, set PKG_CONFIG_PATH.])])
])

dnl TX_TRY_CFLAG(VARIABLE, FLAG) / TX_TRY_LDFLAG(VARIABLE, FLAG): append what works.
AC_DEFUN([TX_TRY_CFLAG], [
AC_MSG_CHECKING([whether $CC takes $2])
tx_save="$CFLAGS"
CFLAGS="$CFLAGS -Werror $2"
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[]], [[]])],
                  [AC_MSG_RESULT([yes]); $1="$$1 $2"], [AC_MSG_RESULT([no])])
CFLAGS="$tx_save"
])
AC_DEFUN([TX_TRY_LDFLAG], [
AC_MSG_CHECKING([whether the linker takes $2])
tx_save="$LDFLAGS"
LDFLAGS="$LDFLAGS $2"
AC_LINK_IFELSE([AC_LANG_PROGRAM([[]], [[]])],
               [AC_MSG_RESULT([yes]); $1="$$1 $2"], [AC_MSG_RESULT([no])])
LDFLAGS="$tx_save"
])

dnl TX_FUZZING_COMPILER: --enable-fuzzing means clang, where CC names no other. Before AC_PROG_CC.
AC_DEFUN([TX_FUZZING_COMPILER], [
AC_ARG_ENABLE([fuzzing],
  [AS_HELP_STRING([--enable-fuzzing], [build for libFuzzer (make fuzz), with the address and undefined-behaviour sanitizers; needs clang])],
  [], [enable_fuzzing=no])
AS_IF([test "x$enable_fuzzing" = xyes && test -z "$CC"], [CC=clang])
])

dnl TX_FUZZING: whether the compiler has libFuzzer. Before TX_SANITIZER, which it sets.
AC_DEFUN([TX_FUZZING], [
AS_IF([test "x$enable_fuzzing" = xyes], [
  FUZZ_LDFLAGS="-fsanitize=fuzzer"
  tx_save="$CFLAGS"
  CFLAGS="$CFLAGS -fsanitize=fuzzer,address,undefined"
  AC_MSG_CHECKING([whether $CC has libFuzzer])
  AC_LINK_IFELSE([AC_LANG_SOURCE([[
#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) { return data == NULL && size > 0; }]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([--enable-fuzzing needs clang with its libFuzzer (Debian: clang), and $CC has none; try CC=clang])])
  CFLAGS="$tx_save"
  with_sanitizer=fuzzer-no-link,address,undefined
])
AC_SUBST([FUZZ_LDFLAGS])
AM_CONDITIONAL([FUZZING], [test "x$enable_fuzzing" = xyes])
])

dnl TX_SANITIZER: --with-sanitizer=address,undefined
AC_DEFUN([TX_SANITIZER], [
AC_ARG_WITH([sanitizer],
  [AS_HELP_STRING([--with-sanitizer=LIST], [build with these sanitizers (address,undefined or thread)])],
  [], [AS_IF([test "x$enable_fuzzing" != xyes], [with_sanitizer=no])])
tx_sanitizer="none"
AS_IF([test "x$with_sanitizer" = xyes], [with_sanitizer=address,undefined])
AS_IF([test "x$with_sanitizer" != xno], [
  tx_sanitizer="$with_sanitizer"
  SANITIZER_FLAGS="-fsanitize=$with_sanitizer -fno-sanitize-recover=all -fno-omit-frame-pointer"
  tx_save="$CFLAGS"
  CFLAGS="$CFLAGS $SANITIZER_FLAGS"
  AC_LINK_IFELSE([AC_LANG_PROGRAM([[]], [[]])], [],
    [AC_MSG_ERROR([$CC cannot build with -fsanitize=$with_sanitizer])])
  CFLAGS="$tx_save"
])
AC_SUBST([SANITIZER_FLAGS])
AM_CONDITIONAL([SANITIZED], [test "x$with_sanitizer" != xno])
])

dnl TX_HARDENING: on by default; --disable-hardening for odd machines.
AC_DEFUN([TX_HARDENING], [
AC_ARG_ENABLE([hardening],
  [AS_HELP_STRING([--disable-hardening], [build without the hardening flags])],
  [], [enable_hardening=yes])
AS_IF([test "x$enable_hardening" = xyes], [
  TX_TRY_CFLAG([HARDEN_CFLAGS], [-fstack-protector-strong])
  TX_TRY_CFLAG([HARDEN_CFLAGS], [-fstack-clash-protection])
  TX_TRY_CFLAG([HARDEN_CFLAGS], [-fcf-protection])
  TX_TRY_CFLAG([HARDEN_CFLAGS], [-fPIE])
  TX_TRY_LDFLAG([HARDEN_LDFLAGS], [-pie])
  TX_TRY_LDFLAG([HARDEN_SHLIB_LDFLAGS], [-Wl,-z,relro])
  TX_TRY_LDFLAG([HARDEN_SHLIB_LDFLAGS], [-Wl,-z,now])
  TX_TRY_LDFLAG([HARDEN_SHLIB_LDFLAGS], [-Wl,-z,noexecstack])
  dnl Fortify needs optimisation and does not go with a sanitizer.
  AS_IF([test "x$with_sanitizer" = xno],
    [AS_CASE([" $CFLAGS "], [*" -O0 "*], [],
      [*" -O"*], [HARDEN_CPPFLAGS="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"])])
])
AC_SUBST([HARDEN_CFLAGS])
AC_SUBST([HARDEN_CPPFLAGS])
AC_SUBST([HARDEN_LDFLAGS])
AC_SUBST([HARDEN_SHLIB_LDFLAGS])
])

dnl TX_WARNINGS: the warnings the code is free of; --enable-developer makes them errors.
AC_DEFUN([TX_WARNINGS], [
AC_ARG_ENABLE([developer],
  [AS_HELP_STRING([--enable-developer], [make warnings errors (-Werror)])],
  [], [enable_developer=no])
for tx_flag in -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
               -Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef; do
  TX_TRY_CFLAG([WARN_CFLAGS], [$tx_flag])
done
dnl Off with a reason: texts of errors and logs have bounded buffers, and snprintf cuts them on purpose.
TX_TRY_CFLAG([WARN_CFLAGS], [-Wno-format-truncation])
AS_IF([test "x$enable_developer" = xyes], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
AC_SUBST([WARN_CFLAGS])
])

dnl TX_SYMBOL_MAP: whether the linker takes a version script.
AC_DEFUN([TX_SYMBOL_MAP], [
tx_map_flag=
echo 'TX_TEST { global: main; local: *; };' > conftest.map
TX_TRY_LDFLAG([tx_map_flag], [-Wl,--version-script=conftest.map])
AM_CONDITIONAL([HAVE_SYMBOL_MAP], [test -n "$tx_map_flag"])
])

dnl TX_SUMMARY: what was decided, at the end of configure.
AC_DEFUN([TX_SUMMARY], [
AC_MSG_NOTICE([
  telex $PACKAGE_VERSION
    prefix        $prefix
    compiler      $CC $CFLAGS
    hardening     $enable_hardening
    sanitizer     $tx_sanitizer
    developer     $enable_developer
    fuzzing       $enable_fuzzing
    tests         $tx_cmocka (cmocka)
    protoc-c      $PROTOC_C

  Next: make && make check && make install])
])
