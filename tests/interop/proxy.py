#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls with the header x-telex-identity, each given as an argument; prints a line a call: the code, and for whom it was made.

Usage: proxy.py ADDRESS CA CERTIFICATE KEY IDENTITY[,IDENTITY]...      ("": without the header; two: it is there twice)
"""
import importlib
import os
import subprocess
import sys
import tempfile

os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc  # noqa: E402

address, ca, certificate, key = sys.argv[1:5]
proto = os.path.join(os.environ.get("top_srcdir", "."), "proto")


def read(path):
    with open(path, "rb") as f:
        return f.read()


with tempfile.TemporaryDirectory() as made:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", proto, "--python_out", made, "--grpc_python_out",
                    made, "telex/v1/system.proto"], check=True)
    sys.path.insert(0, made)
    pb = importlib.import_module("telex.v1.system_pb2")
    stubs = importlib.import_module("telex.v1.system_pb2_grpc")
credentials = grpc.ssl_channel_credentials(read(ca), read(key), read(certificate))
with grpc.secure_channel(address, credentials) as channel:
    stub = stubs.SystemServiceStub(channel)
    for argument in sys.argv[5:]:
        metadata = [("x-telex-identity", i) for i in argument.split(",") if i]
        try:
            print("OK", stub.GetInfo(pb.GetInfoRequest(), timeout=240, metadata=metadata).client_identity)
        except grpc.RpcError as e:
            print(e.code().name, e.details())
