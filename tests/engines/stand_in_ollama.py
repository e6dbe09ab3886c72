"""Looks like `ollama`: strict about how it is started and asked, notes every request, keeps its models in a file.

Read as text by the tests, which put a first line before it and the file on the PATH. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STORE = Path(os.environ["OLLAMA_MODELS"])
HOST, PORT = os.environ["OLLAMA_HOST"].split(":")
LIBRARY = {"tiny:1b": "d1", "other:latest": "d2", "smol:latest": "d3"}


def note(**what: Any) -> None:
    with (STORE / "notes.jsonl").open("a") as file:
        file.write(json.dumps(what) + "\n")


def models() -> dict[str, dict[str, str]]:
    file = STORE / "models.json"
    return json.loads(file.read_text()) if file.exists() else {}


def keep(name: str, digest: str, blob: str = "") -> None:
    (STORE / "models.json").write_text(json.dumps({**models(), name: {"digest": digest, "blob": blob}}))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, value: object = None) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def lines(self, *values: object) -> None:
        """A stream of JSON lines, each in two pieces."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        for value in values:
            data = json.dumps(value).encode() + b"\n"
            for part in (data[:5], data[5:]):
                self.wfile.write(part)
                self.wfile.flush()
            if isinstance(value, dict) and value.get("completed") == 40 and "STAND_IN_WAITS" in os.environ:
                while not (STORE / "go").exists():
                    time.sleep(0.002)
        self.close_connection = True

    def is_foreign(self) -> bool:
        """As Ollama does: a host name that is not this machine's own is refused."""
        if self.headers["Host"] == f"{HOST}:{PORT}":
            return False
        self.answer(403)
        return True

    def do_GET(self) -> None:
        if self.is_foreign():
            return
        if self.path == "/api/version":
            self.answer(200, {"version": "0.40.12"})
        elif self.path == "/api/tags":
            self.answer(200, {"models": [{"name": name, "digest": it["digest"]} for name, it in models().items()] or None})
        else:
            self.answer(404)

    def do_HEAD(self) -> None:
        note(head=self.path)
        self.answer(200 if (STORE / Path(self.path).name).exists() else 404)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.is_foreign():
            return
        if self.path.startswith("/api/blobs/"):
            self.take_blob(Path(self.path).name, data)
            return
        body = json.loads(data)
        note(post=self.path, body=body)
        getattr(self, self.path.strip("/").replace("/", "_"))(body)

    def take_blob(self, digest: str, data: bytes) -> None:
        note(blob=digest, size=len(data))
        if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            self.answer(400, {"error": "digest mismatch"})
            return
        (STORE / digest).write_bytes(data)
        self.answer(201)

    def api_pull(self, body: dict[str, Any]) -> None:
        digest = LIBRARY.get(body["model"])
        if digest is None:
            self.lines({"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"})
            return
        layer = {"status": "pulling aa", "digest": "sha256:aa", "total": 100}
        steps: list[object] = [{"status": "pulling manifest"}, layer, {**layer, "completed": 40}, {**layer, "completed": 100}]
        if "STAND_IN_ENDS_EARLY" in os.environ:
            self.lines(*steps)
            return
        keep(body["model"], digest)
        self.lines(*steps, {"status": "success"})

    def api_copy(self, body: dict[str, Any]) -> None:
        keep(body["destination"], **models()[body["source"]])
        self.answer(200)

    def api_create(self, body: dict[str, Any]) -> None:
        (blob,) = body["files"].values()
        if not (STORE / blob).exists():
            self.answer(400, {"error": "blob does not exist"})
        elif (STORE / blob).read_bytes()[:4] != b"GGUF":
            self.lines({"status": "parsing GGUF"}, {"error": "invalid file magic"})
        else:
            keep(body["model"], f"of {blob}", blob)
            self.lines({"status": "parsing GGUF"}, {"status": "success"})

    def api_show(self, body: dict[str, Any]) -> None:
        blob = models()[body["model"]]["blob"]
        self.answer(200, {"modelfile": f"FROM {STORE}/blobs/{blob.replace(':', '-')}\n"})

    def api_generate(self, body: dict[str, Any]) -> None:
        if body["model"] not in models():
            self.answer(404, {"error": f"model '{body['model']}' not found"})
        elif "STAND_IN_TOO_LARGE" in os.environ:
            self.answer(500, {"error": "model requires more system memory (9.1 GiB) than is available (2.0 GiB)"})
        else:
            runner = subprocess.Popen(["sleep", "600"])
            note(runner=runner.pid)
            self.answer(200, {"model": body["model"], "done": True, "done_reason": "load"})

    api_embed = api_generate

    def v1_chat_completions(self, body: dict[str, Any]) -> None:
        self.answer(200 if body["model"] in {name.removesuffix(":latest") for name in models()} else 404, {"id": "x"})


def main() -> None:
    assert sys.argv[1:] == ["serve"], sys.argv
    note(env={name: value for name, value in os.environ.items() if name.startswith("OLLAMA_")})
    server = ThreadingHTTPServer((HOST, int(PORT)), Handler)
    print(f"Listening on {HOST}:{PORT}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
