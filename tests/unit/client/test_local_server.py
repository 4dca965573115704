"""The life of a local server, with a small server in place of the real one (which e2e tests use)."""

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

import gradserve as gs
from gradserve import local_server

# Serves GetServerInfo, and does what the environment asks for.
SERVER = """
import json, os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
import grpc
from gradserve.v1 import gradient_service_pb2 as service_pb2

behaviour = os.environ.get("BEHAVIOUR", "")
print("a line of the log", behaviour, file=sys.stderr, flush=True)
if behaviour == "dies":
    sys.exit(3)
flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "FLAGS" in os.environ:
    with open(os.environ["FLAGS"], "w") as file:
        json.dump(flags | {"pid": os.getpid()}, file)
if behaviour == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if behaviour == "never ready":
    sys.stdin.read()
    sys.exit(0)

class Service(grpc.GenericRpcHandler):
    def service(self, details):
        info = service_pb2.GetServerInfoResponse(version="a small one", devices=[str(os.getpid())])
        return grpc.unary_unary_rpc_method_handler(lambda request, context: info.SerializeToString())

server = grpc.server(ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Service(),))
server.add_insecure_port(flags["--address"])
server.start()
sys.stdin.read()
while behaviour == "stubborn":
    time.sleep(1)
server.stop(0).wait()
"""


@pytest.fixture
def environment(tmp_path):
    """Variables that put the small server in place of the real one."""
    package = tmp_path / "python" / "gradserve_server"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(SERVER)
    return {"PYTHONPATH": str(package.parent), "FLAGS": str(tmp_path / "flags.json")}


def pid_of(client):
    return int(client.server_info().devices[0])


def is_gone(pid, seconds=10.0):
    """Whether the process has ended, or does within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # ended, and not yet looked after by whoever inherited it
            return True
        time.sleep(0.02)
    return False


def test_a_local_server_answers_and_ends_with_its_client(environment):
    with gs.local(environment=environment) as client:
        assert client.server_info().version == "a small one"
        pid, folder = pid_of(client), Path(client.address.removeprefix("unix:")).parent
        assert folder.stat().st_mode & 0o077 == 0
    assert is_gone(pid, 0.1)
    assert not folder.exists()
    client.close()
    with pytest.raises(gs.ClientClosed):
        client.server_info()


def test_settings_become_flags(environment):
    settings = {"max_nodes": 7, "log_level": "debug", "drain_seconds": 0.5}
    with gs.local("none", environment=environment, **settings) as client:
        flags = json.loads(Path(environment["FLAGS"]).read_text())
        assert flags.pop("pid") == pid_of(client)
        assert flags == {
            "--address": client.address,
            "--isolation": "none",
            "--stop-with-stdin": "true",
            "--metrics-address": "",
            "--max-nodes": "7",
            "--log-level": "debug",
            "--drain-seconds": "0.5",
        }


def test_a_client_that_is_forgotten_stops_its_server(environment):
    client = gs.local(environment=environment)
    pid = pid_of(client)
    del client
    gc.collect()
    assert is_gone(pid)


@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_server_does_not_outlive_the_process_that_started_it(environment, end):
    code = textwrap.dedent(f"""
        import gradserve as gs
        client = gs.local(environment={environment!r})
        print(client.server_info().devices[0], flush=True)
        {end}
    """)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert out.returncode == (-signal.SIGKILL if end else 0), out.stderr
    assert is_gone(int(out.stdout))


def test_a_server_that_dies_at_the_start_is_reported_with_its_log(environment):
    before = set(Path(tempfile.gettempdir()).glob("gradserve-*"))
    with pytest.raises(gs.ServerFault, match=r"exit status 3:\na line of the log dies"):
        gs.local(environment=environment | {"BEHAVIOUR": "dies"})
    assert set(Path(tempfile.gettempdir()).glob("gradserve-*")) <= before


def test_a_server_that_is_never_ready_is_reported_and_stopped(environment):
    with pytest.raises(gs.ServerFault, match=r"not ready within 4 s .*:\na line of the log"):
        gs.local(environment=environment | {"BEHAVIOUR": "never ready"}, startup_timeout=4)
    assert is_gone(json.loads(Path(environment["FLAGS"]).read_text())["pid"])


def test_a_server_that_does_not_listen_is_killed(environment, monkeypatch):
    monkeypatch.setattr(local_server, "_STOP_SECONDS", 0.2)
    client = gs.local(environment=environment | {"BEHAVIOUR": "stubborn"})
    pid = pid_of(client)
    client.close()
    assert is_gone(pid, 0.1)


def test_a_server_that_died_meanwhile_is_unavailable_and_told_at_the_end(environment, caplog):
    with gs.local(environment=environment) as client:
        os.kill(pid_of(client), signal.SIGKILL)
        with pytest.raises(gs.Unavailable, match="no answer from unix:"):
            client.server_info()
        with caplog.at_level(logging.WARNING, "gradserve"):
            client.close()
    (message,) = caplog.messages
    assert "exit status -9" in message
    assert "a line of the log" in message


def test_a_missing_server_names_the_extra(monkeypatch):
    monkeypatch.setattr(local_server, "find_spec", lambda name: None if name == "jax" else object())
    with pytest.raises(gs.MissingExtra, match=r"jax .*pip install 'gradserve\[server\]'"):
        gs.local()


def test_a_long_folder_for_temporary_files_does_not_matter(environment, monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with gs.local(environment=environment) as client:
        assert client.server_info().version == "a small one"
    assert list(deep.iterdir()) == []
