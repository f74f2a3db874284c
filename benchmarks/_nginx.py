"""An nginx with ready-made records for the benchmarks of the client: plain and TLS, on a core of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Any request for a job finds it running, and one in ten finds another status than the one before it did.
CONFIGURATION = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 120s;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  split_clients $request_id $status_word {{ 5.28% created; * started; }}
  server {{
    listen 127.0.0.1:{http} backlog=4096;
    listen 127.0.0.1:{https} ssl backlog=4096;
    ssl_certificate {folder}/certificate.pem; ssl_certificate_key {folder}/key.pem; ssl_protocols TLSv1.3;
    default_type application/json;
    location ~ ^/v1/google-flow/jobs/(?<job>.+)$ {{
      return 200 '{{"jobid":"$job","type":"video","status":"$status_word","created":"2026-11-04T09:30:12.448Z",\
"request":{{"email":"ma***@example.com","prompt":"Paper boats drifting down a rain gutter at dusk","model":"veo-3.1-lite",\
"aspectRatio":"landscape","count":1,"async":true}},"updated":"2026-11-04T09:32:01.007Z"}}';
    }}
  }}
}}
"""

FILES = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ video/mp4 mp4; }}
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{http}; root {files}; }}
}}
"""


@dataclass(frozen=True)
class Server:
    """Where it listens, and the certificate that its TLS is to be verified with."""

    http: str
    https: str
    certificate: Path


@contextmanager
def serving() -> Iterator[Server]:
    """An nginx on two free ports; with two cores or more it has the first, and this process the others."""
    _need("nginx", "openssl", "taskset")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_certificate(folder)
        http, https = _free_port(), _free_port()
        with _running(folder, CONFIGURATION.format(folder=folder, http=http, https=https), http):
            yield Server(f"http://127.0.0.1:{http}", f"https://localhost:{https}", folder / "certificate.pem")


@contextmanager
def serving_files(files: Path) -> Iterator[str]:
    """An nginx that serves what lies in *files*, on a core of its own where there are two; gives its URL."""
    _need("nginx", "taskset")
    with tempfile.TemporaryDirectory() as name:
        folder, http = Path(name), _free_port()
        with _running(folder, FILES.format(folder=folder, http=http, files=files), http):
            yield f"http://127.0.0.1:{http}"


@contextmanager
def _running(folder: Path, text: str, port: int) -> Iterator[None]:
    configuration = folder / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    before = os.sched_getaffinity(0)
    server_core, *others = sorted(before)
    pinned = [*_path_of("taskset"), "-c", str(server_core), *_path_of("nginx")]
    process = subprocess.Popen([*pinned, "-c", configuration, "-e", folder / "errors", "-p", folder])  # noqa: S603 - ours
    os.sched_setaffinity(0, others or before)
    try:
        _wait_for(port, process)
        yield
    finally:
        os.sched_setaffinity(0, before)
        process.terminate()
        process.wait()


def _need(*programs: str) -> None:
    missing = [program for program in programs if not _path_of(program)]
    if missing:
        sys.exit(f"this benchmark needs {' and '.join(missing)} (on Debian: apt-get install nginx-light openssl util-linux)")


def _path_of(program: str) -> list[str]:
    path = shutil.which(program)
    return [] if path is None else [path]


def _make_certificate(folder: Path) -> None:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / "key.pem"]
    command = [*_path_of("openssl"), "req", "-x509", *key, "-days", "2", *subject, "-out", folder / "certificate.pem"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)  # noqa: S603 - ours


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            sys.exit("nginx did not start")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            sleep(0.05)
        else:
            return
    process.terminate()
    sys.exit("nginx does not listen")
