#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client that is cut off, and asks again with the same process_id and spec. Prints TAP.

The environment is client.py's, and TELEX_TEST_DIR, a folder. Each process appends a line to a file of its
own: that counts the runs.
"""
import importlib
import os
import queue
import subprocess
import sys
import tempfile
import uuid

import grpc

top = os.environ.get("top_srcdir", ".")
generated = tempfile.TemporaryDirectory()
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"),
     "--python_out", generated.name, "--grpc_python_out", generated.name,
     "telex/v1/process.proto"], check=True)
sys.path.insert(0, generated.name)
pb = importlib.import_module("telex.v1.process_pb2")
stubs = importlib.import_module("telex.v1.process_pb2_grpc")


def read(name):
    with open(os.environ[name], "rb") as f:
        return f.read()


def connect():
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read("TELEX_CA"), private_key=read("TELEX_KEY"),
        certificate_chain=read("TELEX_CERT"))
    # A connection of its own each: one that is cut takes no other with it.
    return grpc.secure_channel(os.environ["TELEX_ADDRESS"], credentials,
                               options=[("grpc.use_local_subchannel_pool", 1)])


def start(channel, process_id, script, half_close=False):
    requests = queue.Queue()
    requests.put(pb.RunRequest(start=pb.RunStart(process_id=process_id, spec=pb.ProcessSpec(
        argv=[b"sh", b"-c", script.encode()]))))
    if half_close:
        requests.put(None)
    return requests, stubs.ProcessServiceStub(channel).Run(iter(requests.get, None), timeout=240)


def until(call, kind):
    for response in call:
        if response.WhichOneof("response") == kind:
            return
    raise AssertionError(f"no {kind} came")


def before_it_is_sent(channel, process_id, script):
    start(channel, process_id, script)


def while_it_starts(channel, process_id, script):
    grpc.channel_ready_future(channel).result(timeout=240)
    start(channel, process_id, script)


def when_it_has_started(channel, process_id, script):
    _, call = start(channel, process_id, script)
    until(call, "started")


def at_the_exit(channel, process_id, script):
    _, call = start(channel, process_id, script)
    until(call, "exited")


def after_an_early_half_close(channel, process_id, script):
    _, call = start(channel, process_id, script, half_close=True)
    until(call, "exited")


CUTS = [before_it_is_sent, while_it_starts, when_it_has_started, at_the_exit,
        after_an_early_half_close]
CASES = [(cut, end) for cut in CUTS for end in ("exit 3", "sleep 0.2")]
ROUNDS = 5


def one_run(cut, script_end):
    process_id = uuid.uuid4().hex
    ran = os.path.join(os.environ["TELEX_TEST_DIR"], process_id)
    script = f"echo run >> '{ran}'; {script_end}"
    channel = connect()
    cut(channel, process_id, script)
    channel.close()
    with connect() as again:
        requests, call = start(again, process_id, script)
        until(call, "exited")
        requests.put(None)
    with open(ran, encoding="ascii") as f:
        assert f.read() == "run\n", "it ran twice"


print(f"1..{len(CASES)}")
for number, (a_cut, end) in enumerate(CASES, 1):
    name = f"cut {a_cut.__name__}, \"{end}\" runs once"
    try:
        for _ in range(ROUNDS):
            one_run(a_cut, end)
        print(f"ok {number} - {name}", flush=True)
    except Exception as e:  # a failed test is told, and the next one goes on
        for line in f"{type(e).__name__}: {e}".splitlines():
            print("#", line)
        print(f"not ok {number} - {name}", flush=True)
