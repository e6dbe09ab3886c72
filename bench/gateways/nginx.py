"""nginx as a reverse proxy: the floor. One worker, kept-alive upstream, nothing buffered, nothing logged."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.gateways.accounting import running
from bench.gateways.client import Target
from bench.gateways.place import Door, LeftOut, Place
from bench.wire import ENVIRONMENT, free_port

NAME: Final = "nginx"
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# A prompt that does not fit client_body_buffer_size goes through a file and stalls for 40 ms.
_CONFIG: Final = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  {temporary}
  client_body_buffer_size 1m;
  client_max_body_size 8m;
  keepalive_requests 1000000000;
  upstream mock {{
    server 127.0.0.1:{upstream};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def nginx(place: Place) -> Iterator[Door]:
    """Debian's, or whichever is on the PATH."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise LeftOut("nginx is not installed; run as root: apt-get install -y nginx-light")
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr.rpartition("/")[2].strip()
    port, config = free_port(), place.folder / "nginx.conf"
    temporary = "\n  ".join(f"{name}_temp_path {place.folder}/{name};" for name in _TEMPORARY)
    config.write_text(_CONFIG.format(temporary=temporary, upstream=place.upstream_port, port=port))
    argv = [program, "-p", str(place.folder), "-c", str(config), "-e", "stderr"]
    with running(argv, core=place.cores.gateway, folder=place.folder, env=ENVIRONMENT) as process:
        yield Door(NAME, version, Target("127.0.0.1", port), process.pid)
