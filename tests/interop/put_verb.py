#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `telex put` asks an agent for, which here is a script, after the first try was lost. Prints TAP.

Environment: TELEX_DEV (the folder of `telex dev`, whose agent's certificate is used), top_builddir, top_srcdir.
"""
import concurrent.futures
import importlib
import os
import subprocess
import sys
import tempfile

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402

top = os.environ.get("top_srcdir", ".")
TELEX = os.path.join(os.environ.get("top_builddir", "."), "telex")
DEADLINE = 120
work = tempfile.TemporaryDirectory()
generated = work.name + "/generated"
os.mkdir(generated)
subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"), "--python_out", generated,
                "--grpc_python_out", generated, "telex/v1/process.proto", "telex/v1/file.proto"], check=True)
sys.path.insert(0, generated)
pb = importlib.import_module("telex.v1.file_pb2")
stubs = importlib.import_module("telex.v1.file_pb2_grpc")


class Files(stubs.FileServiceServicer):
    """Says where the tree goes, and is gone; the second time it has had enough."""

    def __init__(self):
        self.starts = []

    def PutTree(self, request_iterator, context):
        self.starts.append(next(request_iterator).start)
        yield pb.PutTreeResponse(started=pb.PutTreeStarted(path=b"/where/it/went"))
        if len(self.starts) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "enough")


def serve(files):
    def read(name):
        with open(f"{os.environ['TELEX_DEV']}/{name}", "rb") as f:
            return f.read()

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    stubs.add_FileServiceServicer_to_server(files, server)
    credentials = grpc.ssl_server_credentials([(read("agent.key"), read("agent.pem"))], read("ca.pem"), True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


def main():
    files = Files()
    server, port = serve(files)
    os.mkdir(work.name + "/tree")
    done = subprocess.run([TELEX, "-w", f"127.0.0.1:{port}", "put", work.name + "/tree", "/target"], capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=DEADLINE, check=False)
    server.stop(None)
    said = [(bytes(s.path), bytes(s.name), s.into) for s in files.starts]
    checks = [("the first try names target and tree", said[:1] == [(b"/target", b"tree", False)]),
              ("the second goes where the first went, and not into it", said[1:] == [(b"/where/it/went", b"", False)]),
              ("it is the same transfer", len({s.transfer_id for s in files.starts}) == 1),
              ("and what it ends with is told", done.returncode != 0 and b"enough" in done.stderr)]
    print(f"1..{len(checks)}")
    for number, (what, good) in enumerate(checks, 1):
        print(f"{'ok' if good else 'not ok'} {number} - {what}")
        if not good:
            print(f"# {said} {done.stderr.decode(errors='replace').strip()}".replace("\n", "\n# "))
    return not all(good for _, good in checks)


if __name__ == "__main__":
    sys.exit(main())
