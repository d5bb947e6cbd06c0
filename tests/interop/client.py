#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A stock gRPC client that knows only our .proto files. Prints TAP.

Environment: TELEX_ADDRESS (host:port), TELEX_CA, TELEX_CERT, TELEX_KEY (PEM files), top_srcdir.
"""
import functools
import importlib
import os
import queue
import subprocess
import sys
import tempfile
import time
import uuid

import grpc

top = os.environ.get("top_srcdir", ".")
generated = tempfile.TemporaryDirectory()
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"),
     "--python_out", generated.name, "--grpc_python_out", generated.name,
     "telex/v1/process.proto", "telex/v1/system.proto"], check=True)
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", "-I", os.path.join(top, "proto"),
     "--python_out", generated.name, "google/rpc/status.proto", "google/rpc/error_details.proto"],
    check=True)
sys.path.insert(0, generated.name)
import google  # noqa: E402  (a namespace that protobuf's own package owns; ours is added to it)
google.__path__.append(os.path.join(generated.name, "google"))
pb = importlib.import_module("telex.v1.process_pb2")
stubs = importlib.import_module("telex.v1.process_pb2_grpc")
system_pb = importlib.import_module("telex.v1.system_pb2")
system_stubs = importlib.import_module("telex.v1.system_pb2_grpc")
status_pb = importlib.import_module("google.rpc.status_pb2")
details_pb = importlib.import_module("google.rpc.error_details_pb2")

TIMEOUT = 240


def read(name):
    with open(os.environ[name], "rb") as f:
        return f.read()


def connect(**options):
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read("TELEX_CA"), private_key=read("TELEX_KEY"),
        certificate_chain=read("TELEX_CERT"))
    return grpc.secure_channel(os.environ["TELEX_ADDRESS"], credentials,
                               options=list(options.items()))


def error_info(error):
    """The google.rpc.ErrorInfo that an RpcError carries."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb.Status.FromString(value)
            info = details_pb.ErrorInfo()
            assert status.details[0].Unpack(info)
            return info
    raise AssertionError("no grpc-status-details-bin")


class Run:
    """One Run call: requests go through a queue, outputs are put together by offset."""

    def __init__(self, stub, argv, stdin=None, process_id=None, **spec):
        self.requests = queue.Queue()
        mode = pb.STDIN_MODE_NULL if stdin is None else pb.STDIN_MODE_PIPE
        self.id = process_id or uuid.uuid4().hex
        self.put(start=pb.RunStart(process_id=self.id, spec=pb.ProcessSpec(
            argv=[a.encode() for a in argv], stdin=mode, **spec)))
        if stdin is not None:
            offset = 0
            while offset < len(stdin):
                piece = stdin[offset:offset + 100000]
                self.put(stdin=pb.StdinChunk(offset=offset, data=piece))
                offset += len(piece)
            self.put(stdin=pb.StdinChunk(offset=offset, eof=True))
        self.out = {pb.OUTPUT_STREAM_STDOUT: b"", pb.OUTPUT_STREAM_STDERR: b""}
        self.eof = set()
        self.started = self.exit = None
        self.acked = 0
        self.heartbeats = 0
        self.call = stub.Run(iter(self.requests.get, None), timeout=TIMEOUT)

    def put(self, **request):
        self.requests.put(pb.RunRequest(**request))

    def take(self, response):
        assert self.exit is None, "something came after exited"
        kind = response.WhichOneof("response")
        if kind == "started":
            self.started = response.started
        elif kind == "output":
            o = response.output
            assert o.offset == len(self.out[o.stream]), "a gap or an overlap in the output"
            self.out[o.stream] += o.data
            if o.eof:
                self.eof.add(o.stream)
            self.put(ack=pb.OutputAck(stream=o.stream, offset=len(self.out[o.stream])))
        elif kind == "stdin_ack":
            self.acked = response.stdin_ack.offset
        elif kind == "heartbeat":
            self.heartbeats += 1
        elif kind == "exited":
            self.exit = response.exited

    def finish(self):
        try:
            for response in self.call:
                self.take(response)
        finally:
            self.requests.put(None)
        return self

    @property
    def stdout(self):
        return self.out[pb.OUTPUT_STREAM_STDOUT]

    @property
    def stderr(self):
        return self.out[pb.OUTPUT_STREAM_STDERR]


def both_streams_and_the_exit(channel, stub):
    run = Run(stub, ["sh", "-c", "tr a-z A-Z; echo err >&2; exit 7"], stdin=b"hello\n").finish()
    assert run.stdout == b"HELLO\n", run.stdout
    assert run.stderr == b"err\n", run.stderr
    assert run.exit.WhichOneof("status") == "code" and run.exit.code == 7
    assert run.exit.reason == pb.END_REASON_EXITED
    assert run.exit.stdout_length == 6 and run.exit.stderr_length == 4
    assert run.started.created and run.started.process.process_id == run.id
    assert run.exit.end_time.ToNanoseconds() >= run.exit.start_time.ToNanoseconds() > 0
    assert run.exit.usage.max_resident_kib > 0


def a_death_by_signal_is_typed(channel, stub):
    run = Run(stub, ["sh", "-c", "kill -TERM $$"]).finish()
    assert run.exit.WhichOneof("status") == "signal"
    assert run.exit.signal.number == 15 and run.exit.signal.name == "SIGTERM"


def a_megabyte_through_stdin_comes_back(channel, stub):
    data = bytes(range(256)) * 8192
    run = Run(stub, ["cat"], stdin=data).finish()
    assert run.stdout == data
    assert run.acked == len(data)
    assert run.eof == {pb.OUTPUT_STREAM_STDOUT, pb.OUTPUT_STREAM_STDERR}


def a_signal_in_the_stream_says_whose(channel, stub):
    run = Run(stub, ["sleep", "1000"])
    for response in run.call:
        run.take(response)
        kind = response.WhichOneof("response")
        # On a busy machine a start may take its time: it is QUEUED meanwhile.
        if kind == "running" or kind == "started" and response.started.process.state == pb.PROCESS_STATE_RUNNING:
            run.put(signal=pb.RunSignal(signal=15, target=pb.SIGNAL_TARGET_GROUP))
    run.requests.put(None)
    assert run.exit.signal.number == 15
    assert run.exit.reason == pb.END_REASON_SIGNALLED
    assert run.exit.ended_by.startswith("spiffe://"), run.exit.ended_by


def a_run_timeout_is_its_own_reason(channel, stub):
    from google.protobuf.duration_pb2 import Duration
    run = Run(stub, ["sleep", "1000"], run_timeout=Duration(nanos=50_000_000)).finish()
    assert run.exit.reason == pb.END_REASON_RUN_TIMEOUT, run.exit


def heartbeats_come_when_asked_for(channel, stub):
    from google.protobuf.duration_pb2 import Duration
    requests = queue.Queue()
    requests.put(pb.RunRequest(start=pb.RunStart(
        process_id=uuid.uuid4().hex, heartbeat_interval=Duration(seconds=1),
        spec=pb.ProcessSpec(argv=[b"sleep", b"1000"]))))
    call = stub.Run(iter(requests.get, None), timeout=TIMEOUT)
    seen = 0
    for response in call:
        if response.WhichOneof("response") == "heartbeat":
            seen += 1
            requests.put(pb.RunRequest(signal=pb.RunSignal(signal=9)))
    requests.put(None)
    assert seen >= 1


def failed_start(stub, argv, spec):
    """One that takes its time is QUEUED, and its failure is an end then: this is of one that was answered at once."""
    for _ in range(50):
        run = Run(stub, argv, **spec)
        try:
            run.finish()
        except grpc.RpcError as e:
            return e
        assert run.exit.WhichOneof("status") == "not_started", run.exit
    raise AssertionError("no start was over soon")


def a_failed_start_says_where(channel, stub):
    for argv, spec, stage, code in (
            (["no-such-command"], {}, "exec", grpc.StatusCode.NOT_FOUND),
            (["/etc/passwd"], {}, "exec", grpc.StatusCode.PERMISSION_DENIED),
            (["true"], {"working_directory": b"/no/such/folder"}, "chdir", grpc.StatusCode.NOT_FOUND)):
        e = failed_start(stub, argv, spec)
        assert e.code() == code, (argv, e.code(), e.details())
        info = error_info(e)
        assert info.reason == "START_FAILED" and info.domain == "telex", info
        assert info.metadata["stage"] == stage, info
        assert int(info.metadata["errno"]) > 0


def running(stub, process_id):
    """On a busy machine a start may take its time: it is QUEUED meanwhile."""
    end = time.monotonic() + TIMEOUT
    while True:
        got = stub.Get(pb.GetRequest(process_id=process_id), timeout=TIMEOUT).process
        if got.state != pb.PROCESS_STATE_QUEUED:
            return got
        assert time.monotonic() < end, "it did not start"
        time.sleep(0.02)


def start_is_idempotent(channel, stub):
    process_id = uuid.uuid4().hex
    spec = pb.ProcessSpec(argv=[b"sleep", b"1000"])
    first = stub.Start(pb.StartRequest(process_id=process_id, spec=spec), timeout=TIMEOUT)
    pid = running(stub, process_id).pid
    second = stub.Start(pb.StartRequest(process_id=process_id, spec=spec), timeout=TIMEOUT)
    assert first.created and not second.created
    assert second.process.pid == pid > 0
    try:
        other = pb.ProcessSpec(argv=[b"sleep", b"1001"])
        stub.Start(pb.StartRequest(process_id=process_id, spec=other), timeout=TIMEOUT)
        raise AssertionError("another spec was taken")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.ALREADY_EXISTS
        assert error_info(e).reason == "PROCESS_EXISTS"
    listed = [r.process.process_id for r in stub.List(pb.ListRequest(), timeout=TIMEOUT)]
    assert listed.count(process_id) == 1
    got = stub.Get(pb.GetRequest(process_id=process_id), timeout=TIMEOUT).process
    assert got.state == pb.PROCESS_STATE_RUNNING and list(got.argv) == [b"sleep", b"1000"]
    stub.Signal(pb.SignalRequest(process_id=process_id, signal=9), timeout=TIMEOUT)
    requests = iter([pb.RunRequest(attach=pb.RunAttach(process_id=process_id))])
    *_, last = stub.Run(requests, timeout=TIMEOUT)
    assert last.exited.signal.number == 9 and last.exited.reason == pb.END_REASON_SIGNALLED


def output_is_read_as_often_as_wanted(channel, stub):
    process_id = uuid.uuid4().hex
    stub.Start(pb.StartRequest(process_id=process_id, spec=pb.ProcessSpec(
        argv=[b"sh", b"-c", b"seq 1 50000; echo err >&2; exit 4"],
        output=pb.OutputRetention(buffer_bytes=65536, spool_bytes=1 << 20))), timeout=TIMEOUT)
    want = b"".join(b"%d\n" % i for i in range(1, 50001))
    for _ in range(2):
        out, exited = b"", None
        for r in stub.ReadOutput(pb.ReadOutputRequest(
                process_id=process_id, stream=pb.OUTPUT_STREAM_STDOUT, follow=True), timeout=TIMEOUT):
            assert exited is None
            if r.WhichOneof("response") == "output":
                assert r.output.offset == len(out) and r.output.stream == pb.OUTPUT_STREAM_STDOUT
                out += r.output.data
            else:
                exited = r.exited
        assert out == want and exited.code == 4
    part = list(stub.ReadOutput(pb.ReadOutputRequest(
        process_id=process_id, **{"from": pb.Resume(stdout_offset=len(want) - 6)}), timeout=TIMEOUT))
    assert b"".join(r.output.data for r in part
                    if r.output.stream == pb.OUTPUT_STREAM_STDOUT) == b"50000\n"
    try:
        list(stub.ReadOutput(pb.ReadOutputRequest(
            process_id=process_id, **{"from": pb.Resume(stdout_offset=1 << 30)}), timeout=TIMEOUT))
        raise AssertionError("it was read")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.OUT_OF_RANGE
        assert error_info(e).metadata["newest"] == str(len(want))


def input_is_written_exactly_once(channel, stub):
    process_id = uuid.uuid4().hex
    stub.Start(pb.StartRequest(process_id=process_id, spec=pb.ProcessSpec(
        argv=[b"cat"], stdin=pb.STDIN_MODE_PIPE)), timeout=TIMEOUT)
    data = bytes(range(256)) * 1000
    offset = 0
    while offset < len(data):
        piece = data[max(0, offset - 5000):offset + 50000]
        answer = stub.WriteInput(pb.WriteInputRequest(
            process_id=process_id, offset=max(0, offset - 5000), data=piece), timeout=TIMEOUT)
        assert not answer.closed
        offset = answer.offset
    try:
        stub.WriteInput(pb.WriteInputRequest(process_id=process_id, offset=offset + 1, data=b"x"),
                        timeout=TIMEOUT)
        raise AssertionError("a hole was taken")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.OUT_OF_RANGE
        assert error_info(e).metadata["expected"] == str(offset)
    try:
        stub.WriteInput(pb.WriteInputRequest(process_id=process_id, offset=offset, eof=True),
                        timeout=TIMEOUT)
    except grpc.RpcError as e:
        # It may have ended for the end of its stdin before that was answered.
        assert error_info(e).reason == "PROCESS_ENDED"
    out = b"".join(r.output.data for r in stub.ReadOutput(
        pb.ReadOutputRequest(process_id=process_id, follow=True), timeout=TIMEOUT))
    assert out == data


def sizes_above_the_maximum_say_it(channel, stub):
    limits = system_stubs.SystemServiceStub(channel).GetInfo(
        system_pb.GetInfoRequest(), timeout=TIMEOUT).limits
    assert limits.max_spool_bytes > 0
    try:
        stub.Start(pb.StartRequest(process_id=uuid.uuid4().hex, spec=pb.ProcessSpec(
            argv=[b"true"], output=pb.OutputRetention(spool_bytes=limits.max_spool_bytes + 1))),
            timeout=TIMEOUT)
        raise AssertionError("it started")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_info(e).metadata["maximum"] == str(limits.max_spool_bytes)


def an_unknown_process_is_not_found(channel, stub):
    for call in (lambda: stub.Get(pb.GetRequest(process_id="nobody"), timeout=TIMEOUT),
                 lambda: stub.Signal(pb.SignalRequest(process_id="nobody", signal=15), timeout=TIMEOUT)):
        try:
            call()
            raise AssertionError("it was found")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.NOT_FOUND
            assert error_info(e).reason == "NO_SUCH_PROCESS"


def bad_requests_name_the_field(channel, stub):
    for request in (pb.StartRequest(process_id="-x", spec=pb.ProcessSpec(argv=[b"true"])),
                    pb.StartRequest(process_id="x", spec=pb.ProcessSpec()),
                    pb.StartRequest(process_id="x")):
        try:
            stub.Start(request, timeout=TIMEOUT)
            raise AssertionError("it was taken")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.INVALID_ARGUMENT
            info = error_info(e)
            assert info.reason == "BAD_REQUEST" and info.metadata["field"], info


def run_until_deadline(stub, process_id, timeout):
    """Whether it had started when the deadline came: a machine may be too slow for a short one."""
    requests = queue.Queue()
    requests.put(pb.RunRequest(start=pb.RunStart(
        process_id=process_id, spec=pb.ProcessSpec(argv=[b"sleep", b"1000"]))))
    started = False
    try:
        for response in stub.Run(iter(requests.get, None), timeout=timeout):
            started = started or response.WhichOneof("response") == "started"
        raise AssertionError("it ended")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    requests.put(None)
    return started


def a_deadline_leaves_the_process_alone(channel, stub):
    for timeout in (1, 4, 16):
        process_id = uuid.uuid4().hex
        if run_until_deadline(stub, process_id, timeout):
            break
    else:
        raise AssertionError("nothing starts")
    got = running(stub, process_id)
    assert got.state == pb.PROCESS_STATE_RUNNING
    stub.Signal(pb.SignalRequest(process_id=process_id, signal=9), timeout=TIMEOUT)


def gzip_is_understood(channel, stub):
    response = stub.Start(pb.StartRequest(process_id=uuid.uuid4().hex, spec=pb.ProcessSpec(
        argv=[b"true", b"x" * 50000])), timeout=TIMEOUT, compression=grpc.Compression.Gzip)
    assert response.created and response.process.argv[1] == b"x" * 50000


def info_tells_who_and_what(channel, stub):
    info = system_stubs.SystemServiceStub(channel).GetInfo(system_pb.GetInfoRequest(), timeout=TIMEOUT)
    assert info.version and info.machine.system == "Linux" and info.machine.processors > 0
    assert "/agent/" in info.agent_identity and "/user/" in info.client_identity
    assert info.tls.version == "TLSv1.3"


def unknown_methods_are_unimplemented(channel, stub):
    for path in ("/telex.v1.ProcessService/Nothing", "/no.such.Service/Call"):
        try:
            channel.unary_unary(path)(b"", timeout=TIMEOUT)
            raise AssertionError("it answered")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e.code()


def bad_protobuf_keeps_the_connection(channel, stub):
    try:
        channel.unary_unary("/telex.v1.ProcessService/Get")(b"\xff\xff\xff\xff", timeout=TIMEOUT)
        raise AssertionError("it answered")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.INVALID_ARGUMENT, e.code()
    list(stub.List(pb.ListRequest(), timeout=TIMEOUT))


def too_large_a_message_is_refused(channel, stub):
    try:
        channel.unary_unary("/telex.v1.ProcessService/Get")(b"\x0a" + b"x" * (5 << 20), timeout=TIMEOUT)
        raise AssertionError("it answered")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, e.code()
    list(stub.List(pb.ListRequest(), timeout=TIMEOUT))


def the_health_service_serves(channel, stub):
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=TIMEOUT) == b"\x08\x01"
    assert check(b"\x0a\x17telex.v1.ProcessService", timeout=TIMEOUT) == b"\x08\x01"
    try:
        check(b"\x0a\x02no", timeout=TIMEOUT)
        raise AssertionError("it answered")
    except grpc.RpcError as e:
        assert e.code() == grpc.StatusCode.NOT_FOUND


def many_runs_on_one_connection(channel, stub):
    runs = [Run(stub, ["sh", "-c", f"echo {i}; exit {i}"]) for i in range(32)]
    for i, run in enumerate(runs):
        run.finish()
        assert run.stdout == f"{i}\n".encode() and run.exit.code == i


TESTS = [both_streams_and_the_exit, a_death_by_signal_is_typed, a_megabyte_through_stdin_comes_back,
         a_signal_in_the_stream_says_whose, a_run_timeout_is_its_own_reason,
         heartbeats_come_when_asked_for, a_failed_start_says_where, start_is_idempotent,
         output_is_read_as_often_as_wanted, input_is_written_exactly_once,
         sizes_above_the_maximum_say_it,
         an_unknown_process_is_not_found, bad_requests_name_the_field,
         a_deadline_leaves_the_process_alone, gzip_is_understood, info_tells_who_and_what,
         unknown_methods_are_unimplemented, bad_protobuf_keeps_the_connection,
         too_large_a_message_is_refused, the_health_service_serves, many_runs_on_one_connection]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
for module in ("group", "terminal"):
    TESTS += [functools.partial(test, sys.modules[__name__])
              for test in importlib.import_module(module).TESTS]

print(f"1..{len(TESTS)}")
with connect() as the_channel:
    the_stub = stubs.ProcessServiceStub(the_channel)
    for number, test in enumerate(TESTS, 1):
        try:
            if isinstance(test, functools.partial):
                name = test.func.__name__
                test(the_stub)
            else:
                name = test.__name__
                test(the_channel, the_stub)
            print(f"ok {number} - python: {name}", flush=True)
        except Exception as e:  # a failed test is told, and the next one goes on
            for line in f"{type(e).__name__}: {e}".splitlines():
                print("#", line)
            print(f"not ok {number} - python: {name}", flush=True)
