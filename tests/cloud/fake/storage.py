"""Cloud Storage: buckets whose names the whole world shares, objects in one piece or many, policies of buckets."""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import google_crc32c

from tests.cloud.fake.policies import Policies
from tests.cloud.fake.server import Api, Refused, Reply, Request, Route

_SETTINGS = {"name", "location", "labels", "iamConfiguration", "softDeletePolicy", "lifecycle"}
_METADATA = {"name", "metadata", "contentType", "crc32c", "md5Hash"}
_QUANTUM = 256 << 10


@dataclass
class Object:
    """What lies under a name."""

    data: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    generation: int = 1


@dataclass
class Bucket:
    """A bucket of the project: what it was made with, and what is in it."""

    settings: dict[str, Any]
    objects: dict[str, Object] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.settings.get("labels", {}))


@dataclass
class _Session:
    bucket: str
    name: str
    size: int | None
    metadata: dict[str, Any]
    condition: str | None
    data: bytearray = field(default_factory=bytearray)
    made: Object | None = None


class Storage(Api):
    """`buckets` of the project, `strangers` that others have, `policies` by `bucket:NAME`."""

    def __init__(self, fake: Any) -> None:
        super().__init__(fake)
        self.buckets: dict[str, Bucket] = {}
        self.strangers: set[str] = set()
        """Names that are taken; what somebody else's bucket answers is a refusal."""
        self.policies = Policies()
        self.strangers_read: set[str] = set()
        """Buckets that answer, and are somebody else's."""
        self.keeps_of_a_piece: int | None = None
        """Bytes of the next piece that are kept although it came whole, once."""
        self.keeps_nothing = False
        self.damages = False
        """Whether a piece is another when it arrives."""
        self.may_list = True
        """Whether whoever asks may list the buckets of the project."""
        self.trusts = False
        """Whether sums that are sent along are not compared."""
        self.held: set[str] = set()
        """Objects that must not be removed."""
        self._sessions: dict[str, _Session] = {}
        self._generations = 0

    def routes(self) -> list[Route]:
        bucket = r"/storage/v1/b/(?P<bucket>[^/]+)"
        return [
            ("GET", r"/storage/v1/b", self._list),
            ("POST", r"/storage/v1/b", self._insert),
            ("GET", bucket, self._get),
            ("PATCH", bucket, self._patch),
            ("DELETE", bucket, self._delete),
            ("GET", f"{bucket}/iam", self._policy),
            ("PUT", f"{bucket}/iam", self._set_policy),
            ("GET", f"{bucket}/o", self._list_objects),
            ("GET", f"{bucket}/o/(?P<name>[^/]+)", self._get_object),
            ("GET", r"/download/storage/v1/b/(?P<bucket>[^/]+)/o/(?P<name>[^/]+)", self._download),
            ("DELETE", f"{bucket}/o/(?P<name>[^/]+)", self._delete_object),
            ("POST", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o", self._upload),
            ("PUT", r"/upload/storage/v1/b/(?P<bucket>[^/]+)/o", self._piece),
            ("POST", r"/batch/storage/v1", self._batch),
        ]

    def has(self, name: str) -> bool:
        """Whether the project has a bucket of that name."""
        return name in self.buckets

    def put(self, bucket: str, name: str, data: bytes, metadata: dict[str, str] | None = None) -> Object:
        """Write an object, as somebody inside of Google does."""
        self._generations += 1
        made = Object(data, metadata or {}, generation=self._generations)
        self.buckets[bucket].objects[name] = made
        return made

    # --- buckets

    def _list(self, request: Request) -> dict[str, Any]:
        query = self._asked(request).only("project", "prefix", "projection", "maxResults", "pageToken", "fields")
        if query.get("project") != self.fake.project or not self.may_list:
            raise Refused(403, "PERMISSION_DENIED", "does not have storage.buckets.list access to the Google Cloud project.")
        ours = self.buckets.keys() - self.strangers_read
        found = [name for name in sorted(ours) if name.startswith(query.get("prefix", ""))]
        return {"kind": "storage#buckets", "items": [self._told(name) for name in found]}

    def _insert(self, request: Request) -> dict[str, Any]:
        self._asked(request)
        sent = request.json()
        if request.only("project").get("project") != self.fake.project:
            raise Refused(403, "PERMISSION_DENIED", "does not have storage.buckets.create access to the Google Cloud project.")
        if strange := set(sent) - _SETTINGS:
            raise Refused(400, "INVALID_ARGUMENT", f"Unknown name {sorted(strange)}")
        name = sent["name"]
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]", name):
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid bucket name: '{name}'")
        if name in self.strangers:
            message = "The requested bucket name is not available. The bucket namespace is shared by all users of the system."
            raise Refused(409, "ALREADY_EXISTS", message)
        if name in self.buckets:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise Refused(409, "ALREADY_EXISTS", message)
        for rule in sent.get("lifecycle", {}).get("rule", []):
            if set(rule) - {"action", "condition"} or set(rule["condition"]) - {"age", "matchesPrefix"}:
                raise Refused(400, "INVALID_ARGUMENT", f"Invalid lifecycle rule {rule}")
        self.buckets[name] = Bucket(sent)
        return self._told(name)

    def _get(self, request: Request, bucket: str) -> dict[str, Any]:
        self._asked(request).only("projection", "fields")
        self._bucket(bucket)
        return self._told(bucket)

    def _patch(self, request: Request, bucket: str) -> dict[str, Any]:
        self._asked(request).only("projection", "fields")
        found, sent = self._bucket(bucket), request.json()
        if strange := set(sent) - (_SETTINGS - {"name", "location"}):
            raise Refused(400, "INVALID_ARGUMENT", f"Unknown name {sorted(strange)}")
        found.settings |= sent
        return self._told(bucket)

    def _delete(self, request: Request, bucket: str) -> Reply:
        self._asked(request).only()
        if self._bucket(bucket).objects:
            raise Refused(409, "FAILED_PRECONDITION", "The bucket you tried to delete is not empty.")
        del self.buckets[bucket]
        return Reply(status=204)

    def _policy(self, request: Request, bucket: str) -> dict[str, Any]:
        self._asked(request).only("optionsRequestedPolicyVersion")
        self._bucket(bucket)
        return self.policies.get(f"bucket:{bucket}") | {"kind": "storage#policy"}

    def _set_policy(self, request: Request, bucket: str) -> dict[str, Any]:
        self._asked(request).only()
        self._bucket(bucket)
        sent = {key: value for key, value in request.json().items() if key not in {"kind", "resourceId"}}
        if (iam := getattr(self.fake, "iam", None)) is not None:
            for member in (member for binding in sent.get("bindings", []) for member in binding["members"]):
                iam.demand(member)
        try:
            return self.policies.set(f"bucket:{bucket}", sent)
        except Refused as refusal:
            # Where other APIs say that it conflicts, this one says that a condition was not met.
            raise Refused(412, "FAILED_PRECONDITION", refusal.message) if refusal.code == 409 else refusal from None

    # --- objects

    def _list_objects(self, request: Request, bucket: str) -> dict[str, Any]:
        query = self._asked(request).only("projection", "prefix", "maxResults", "pageToken", "fields")
        found = [name for name in sorted(self._bucket(bucket).objects) if name.startswith(query.get("prefix", ""))]
        most = int(query.get("maxResults", 1000))
        return {"kind": "storage#objects", "items": [self._object(bucket, name) for name in found[:most]]}

    def _get_object(self, request: Request, bucket: str, name: str) -> dict[str, Any] | Reply:
        query = self._asked(request).only("projection", "fields")
        if query.get("alt") == "media":
            return self._download(request, bucket, name)
        return self._object(bucket, unquote(name))

    def _download(self, request: Request, bucket: str, name: str) -> Reply:
        self._asked(request).only("projection", "fields")
        found = self._existing(bucket, unquote(name)).data
        headers = {"x-goog-hash": f"crc32c={_crc32c(found)}"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if wanted is None:
            return Reply(found, headers=headers)
        start, end = int(wanted[1]), min(int(wanted[2] or len(found)), len(found) - 1)
        if start >= len(found):
            return Reply(b"The requested range cannot be satisfied.", 416, {"content-range": f"bytes */{len(found)}"})
        return Reply(found[start : end + 1], 206, headers | {"content-range": f"bytes {start}-{end}/{len(found)}"})

    def _delete_object(self, request: Request, bucket: str, name: str) -> Reply:
        self._asked(request).only()
        self._existing(bucket, unquote(name))
        if unquote(name) in self.held:
            raise Refused(403, "PERMISSION_DENIED", f"Object '{bucket}/{unquote(name)}' is under active Temporary hold.")
        del self._bucket(bucket).objects[unquote(name)]
        return Reply(status=204)

    def _batch(self, request: Request) -> Reply:
        """Deletions in one request; each is answered for itself."""
        self._asked(request)
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body)
        parts = [str(part.get_payload()) for part in message.iter_parts()]
        if len(parts) > 100:
            raise Refused(400, "INVALID_ARGUMENT", "The batch request has too many calls.")
        told = []
        for part in parts:
            method, address, _ = part.split(None, 2)
            found = re.fullmatch(r"/storage/v1/b/([^/]+)/o/([^/]+)", urlsplit(address).path)
            if method != "DELETE" or found is None:
                raise Refused(400, "INVALID_ARGUMENT", f"the fake has no {method} {address} in a batch")
            line, body = "204 No Content", ""
            try:
                self._delete_object(Request(method, urlsplit(address).path, {}, {}, b""), found[1], found[2])
            except Refused as refusal:
                line, body = f"{refusal.code} Refused", json.dumps({"error": {"code": refusal.code, "message": refusal.message}})
            told.append(f"Content-Type: application/http\n\nHTTP/1.1 {line}\nContent-Type: application/json\n\n{body}")
        text = "".join(f"--batch\n{one}\n" for one in told) + "--batch--\n"
        return Reply(text.encode(), headers={"content-type": 'multipart/mixed; boundary="batch"'})

    # --- uploads

    def _upload(self, request: Request, bucket: str) -> Reply | dict[str, Any]:
        query = self._asked(request).only("uploadType", "name", "ifGenerationMatch")
        self._bucket(bucket)
        kind = query.get("uploadType")
        if kind == "media":
            return self._written(bucket, query["name"], request.body, {}, query.get("ifGenerationMatch"))
        if kind == "multipart":
            head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
            metadata, data = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body).iter_parts()
            said = _known(json.loads(str(metadata.get_payload())))
            sent = bytes(data.get_payload(decode=True) or b"")
            return self._written(bucket, said["name"], sent, said, query.get("ifGenerationMatch"))
        if kind != "resumable":
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid upload type: {kind}")
        said, size = _known(request.json()), request.headers.get("x-upload-content-length")
        name = said.get("name") or query["name"]
        self._need(bucket, name, query.get("ifGenerationMatch"))
        key = f"session-{len(self._sessions) + 1}"
        self._sessions[key] = _Session(bucket, name, int(size) if size else None, said, query.get("ifGenerationMatch"))
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={quote(name, safe='')}&upload_id={key}"
        return Reply(headers={"location": f"http://{request.headers['host']}{path}"})

    def _piece(self, request: Request, bucket: str) -> Reply | dict[str, Any]:
        query = self._asked(request).only("uploadType", "name", "upload_id")
        session = self._sessions.get(query.get("upload_id", ""))
        if session is None or session.bucket != bucket:
            raise Refused(404, "NOT_FOUND", "The upload session was not found.")
        if session.made is not None:
            return self._object(bucket, session.name)
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("content-range", ""))
        if found is None:
            raise Refused(400, "INVALID_ARGUMENT", "Failed to parse Content-Range header.")
        if found[1] is not None:
            self._take(session, int(found[1]), int(found[2]), found[3], request.body)
        if found[3] == "*" or len(session.data) < int(found[3]):
            kept = {"range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return Reply(status=308, headers=kept)
        told = request.headers.get("x-goog-hash", f"crc32c={_crc32c(bytes(session.data))}")
        if not self.trusts and told != f"crc32c={_crc32c(bytes(session.data))}":
            raise Refused(400, "INVALID_ARGUMENT", f"Provided {told} doesn't match calculated CRC32C.")
        answer = self._written(bucket, session.name, bytes(session.data), session.metadata, session.condition)
        session.made = self.buckets[bucket].objects[session.name]
        return answer

    def _take(self, session: _Session, start: int, end: int, total: str, body: bytes) -> None:
        if end - start + 1 != len(body) or (session.size is not None and total not in {"*", str(session.size)}):
            raise Refused(400, "INVALID_ARGUMENT", "Invalid request. Content-Range does not agree with what was sent.")
        if str(end + 1) != total and len(body) % _QUANTUM:
            raise Refused(400, "INVALID_ARGUMENT", "Invalid request. There were bytes that are no multiple of 262144.")
        if start > len(session.data):
            raise Refused(503, "UNAVAILABLE", "Invalid request. According to the Content-Range header, bytes are missing.")
        kept, self.keeps_of_a_piece = b"" if self.keeps_nothing else body[: self.keeps_of_a_piece], None
        if self.damages:
            kept = kept[:-1] + b"!"
        session.data += kept[len(session.data) - start :]

    # --- pieces

    def _written(self, bucket: str, name: str, data: bytes, metadata: dict[str, Any], condition: str | None) -> dict[str, Any]:
        self._need(bucket, name, condition)
        sums = {"crc32c": _crc32c(data), "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode()}  # noqa: S324 - theirs
        for key, value in sums.items():
            if metadata.get(key, value) != value:
                raise Refused(400, "INVALID_ARGUMENT", f"Provided {key} doesn't match what was calculated.")
        made = self.put(bucket, name, data, metadata.get("metadata"))
        made.content_type = metadata.get("contentType", made.content_type)
        return self._object(bucket, name)

    def _need(self, bucket: str, name: str, condition: str | None) -> None:
        there = self.buckets[bucket].objects.get(name)
        if condition is not None and condition != str(there.generation if there else 0):
            raise Refused(412, "FAILED_PRECONDITION", "At least one of the pre-conditions you specified did not hold.")

    def _asked(self, request: Request) -> Request:
        if (usage := getattr(self.fake, "usage", None)) is not None:
            usage.demand("storage.googleapis.com")
        return request

    def _bucket(self, name: str) -> Bucket:
        if name in self.strangers:
            message = "somebody does not have storage.buckets.get access to the Google Cloud Storage bucket."
            raise Refused(403, "PERMISSION_DENIED", message)
        if name not in self.buckets:
            raise Refused(404, "NOT_FOUND", "The specified bucket does not exist.")
        return self.buckets[name]

    def _existing(self, bucket: str, name: str) -> Object:
        found = self._bucket(bucket).objects.get(name)
        if found is None:
            raise Refused(404, "NOT_FOUND", f"No such object: {bucket}/{name}")
        return found

    def _told(self, name: str) -> dict[str, Any]:
        settings = self.buckets[name].settings
        location = str(settings.get("location", "US")).upper()
        number = "999999999999" if name in self.strangers_read else self.fake.number
        return settings | {"kind": "storage#bucket", "id": name, "projectNumber": number, "location": location}

    def _object(self, bucket: str, name: str) -> dict[str, Any]:
        found = self._existing(bucket, name)
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "size": str(len(found.data)),
            "generation": str(found.generation),
            "contentType": found.content_type,
            "metadata": found.metadata,
            "crc32c": _crc32c(found.data),
            "md5Hash": base64.b64encode(hashlib.md5(found.data).digest()).decode(),  # noqa: S324 - theirs
        }


def _known(sent: dict[str, Any]) -> dict[str, Any]:
    if strange := set(sent) - _METADATA:
        raise Refused(400, "INVALID_ARGUMENT", f"Unknown name {sorted(strange)}")
    return sent


def _crc32c(data: bytes) -> str:
    return base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
