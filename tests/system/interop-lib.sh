# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For the clients of tests/interop: an agent, and where it is, in the environment.
. "${top_srcdir:-$(dirname "$0")/../..}/tests/system/lib.sh"
start_agent
TELEX_ADDRESS=$(cat "$T/dev/agent/address")
TELEX_CA=$(find "$T/dev" -name ca.pem)
TELEX_CERT=$(find "$T/dev" -name user.pem)
TELEX_KEY=$(find "$T/dev" -name user.key)
PYTHONDONTWRITEBYTECODE=1
export TELEX_ADDRESS TELEX_CA TELEX_CERT TELEX_KEY PYTHONDONTWRITEBYTECODE top_srcdir
node_tools=$top_srcdir/build-check/node/node_modules

# The Python that has gRPC; another may be in front of it in PATH.
find_python() {
	for python in ${PYTHON:-} /usr/bin/python3 python3; do
		"$python" -c 'import grpc, grpc_tools.protoc' >/dev/null 2>&1 && echo "$python" && return
	done
	return 1
}
