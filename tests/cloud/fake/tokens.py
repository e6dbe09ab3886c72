"""Who somebody is: Google's token endpoint, its credentials API, a container's metadata server. Every signature is checked."""

from __future__ import annotations

import functools
import json
import time
from typing import Any
from urllib.parse import parse_qsl

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt
from google.auth.exceptions import GoogleAuthError

from tests.cloud.fake.server import Api, Fake, Refused, Reply, Request, Route

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_ACCOUNT = r"/v1/projects/-/serviceAccounts/(?P<email>[^/:]+)"
_META = "/computeMetadata/v1"
_LIVES_S = 3600


class Identities(Api):
    """Gives tokens to whoever proves who they are, and reads those that it gave."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.keys: dict[str, bytes] = {}
        """Public keys of service accounts (PEM), by e-mail address; see `key_file`."""
        self.users: dict[str, str] = {}
        """E-mail addresses of users, by refresh token."""
        self.impersonators: dict[str, set[str]] = {}
        """Who may ask for tokens of a service account, by its e-mail address."""
        self.federated: dict[str, str] = {}
        """Who somebody from elsewhere is, by the token that they bring."""
        self.here: str | None = None
        """The account of this container; None: the metadata server knows none."""
        self.issued: dict[str, str] = {}
        """E-mail addresses by access token."""
        self.opaque = False
        """Whether users get no identity token, as when they did not allow to be known."""
        self.lives_s = _LIVES_S

    # --- for tests, and for who is asked with a token

    def key_file(self, email: str, address: str) -> dict[str, str]:
        """What the key file of a fresh service account holds; its tokens are fetched at `address`."""
        private, public = _pair(email)
        self.keys[email] = public
        return {
            "type": "service_account",
            "client_email": email,
            "private_key_id": f"key-of-{email}",
            "private_key": private.decode(),
            "token_uri": f"{address}/token",
        }

    def user(self, email: str, address: str) -> dict[str, str]:
        """What `gcloud auth application-default login` leaves of a user."""
        self.users[f"refresh-{email}"] = email
        return {
            "type": "authorized_user",
            "client_id": "the-client.apps.googleusercontent.com",
            "client_secret": "not-much-of-one",
            "refresh_token": f"refresh-{email}",
            "token_uri": f"{address}/token",
        }

    def claims(self, token: str) -> dict[str, Any] | None:
        """What an identity token says; None for one that is not from here, was changed, or has ended."""
        try:
            return dict(jwt.decode(token, certs=_pair("google")[1]))
        except (ValueError, GoogleAuthError):
            return None

    # --- the APIs

    def routes(self) -> list[Route]:
        return [
            ("POST", "/token", self._token),
            ("POST", "/v1/token", self._exchanged),
            ("POST", rf"{_ACCOUNT}:generateIdToken", self._generate_identity),
            ("POST", rf"{_ACCOUNT}:generateAccessToken", self._generate_access),
            ("GET", "/", self._metadata),
            ("GET", rf"{_META}/.*", self._metadata),
        ]

    def _token(self, request: Request) -> Reply:
        try:
            return Reply(json.dumps(self._granted(request)).encode(), headers={"content-type": "application/json"})
        except _Grant as refused:
            said = {"error": "invalid_grant", "error_description": str(refused)}
            return Reply(json.dumps(said).encode(), 400, {"content-type": "application/json"})

    def _exchanged(self, request: Request) -> dict[str, Any]:
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        who = self.federated.get(form["subject_token"])
        if who is None or form["grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange":
            raise Refused(400, "INVALID_ARGUMENT", "The given credential is rejected by the attribute condition.")
        return {**self._access(who), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}

    def _granted(self, request: Request) -> dict[str, Any]:
        form = dict(parse_qsl(request.body.decode(), strict_parsing=True))
        if form.get("grant_type") == "refresh_token":
            email = self.users.get(form.get("refresh_token", ""))
            if email is None or not form.get("client_secret"):
                raise _Grant("Token has been expired or revoked.")
            found = self._access(email)
            return found if self.opaque else found | {"id_token": self._identity(email, form["client_id"])}
        if form.get("grant_type") != JWT_GRANT:
            raise _Grant(f"Invalid grant_type: {form.get('grant_type')}")
        said = self._assertion(form.get("assertion", ""), request)
        if audience := said.get("target_audience"):
            return {"id_token": self._identity(said["iss"], audience)}
        if not said.get("scope"):
            raise _Grant("Invalid OAuth scope or ID token audience provided.")
        return self._access(said["iss"])

    def _assertion(self, text: str, request: Request) -> dict[str, Any]:
        who = jwt.decode(text, verify=False).get("iss", "")
        if who not in self.keys:
            raise _Grant("Invalid grant: account not found")
        try:
            said = dict(jwt.decode(text, certs=self.keys[who]))
        except ValueError as error:
            raise _Grant(f"Invalid JWT Signature. ({error})") from None
        at = f"http://{request.headers['host']}/token"
        # An identity token is asked for at Google's own name of the endpoint, wherever that is.
        if said["aud"] not in {at, "https://oauth2.googleapis.com/token"} or said["exp"] - said["iat"] > _LIVES_S:
            raise _Grant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.")
        return said

    def _generate_identity(self, request: Request, email: str) -> dict[str, Any]:
        body = self._as(request, email, {"audience", "delegates", "includeEmail"})
        return {"token": self._identity(email, body["audience"], has_email=bool(body.get("includeEmail")))}

    def _generate_access(self, request: Request, email: str) -> dict[str, Any]:
        self._as(request, email, {"scope", "lifetime", "delegates"})
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.lives_s))
        return {"accessToken": self._access(email)["access_token"], "expireTime": until}

    def _as(self, request: Request, email: str, known: set[str]) -> dict[str, Any]:
        who = self.issued.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if who is None:
            raise Refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if who not in self.impersonators.get(email, set()):
            raise Refused(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource.")
        body: dict[str, Any] = request.json()
        if strange := set(body) - known:
            raise Refused(400, "INVALID_ARGUMENT", f"Unknown name {sorted(strange)}")
        return body

    def _metadata(self, request: Request) -> Reply:
        if request.headers.get("metadata-flavor") != "Google":
            return Reply(b"Missing Metadata-Flavor:Google header.", 403)
        path = request.path.removeprefix(f"{_META}/")
        account = "instance/service-accounts/default/"
        found: str | None = {"/": "", "project/project-id": self.fake.project}.get(path)
        if self.here is not None and path == account:
            found = json.dumps({"email": self.here, "scopes": ["https://www.googleapis.com/auth/cloud-platform"], "aliases": []})
        elif self.here is not None and path == f"{account}token":
            found = json.dumps(self._access(self.here))
        elif self.here is not None and path == f"{account}identity":
            found = self._identity(self.here, request.query["audience"], has_email=request.query.get("format") == "full")
        kind = "application/json" if (found or "").startswith("{") else "text/plain"
        headers = {"metadata-flavor": "Google", "content-type": kind}
        return Reply(b"not found", 404, headers) if found is None else Reply(found.encode(), 200, headers)

    # --- tokens

    def _access(self, email: str) -> dict[str, Any]:
        token = f"ya29.of-{email}-{len(self.issued) + 1}"
        self.issued[token] = email
        return {"access_token": token, "expires_in": self.lives_s, "token_type": "Bearer"}

    def _identity(self, email: str, audience: str, *, has_email: bool = True) -> str:
        now = int(time.time())
        said = {"iss": "https://accounts.google.com", "aud": audience, "sub": f"id-of-{email}", "iat": now}
        said |= {"exp": now + self.lives_s} | ({"email": email, "email_verified": True} if has_email else {})
        signer = crypt.RSASigner.from_string(_pair("google")[0])
        return str(jwt.encode(signer, said).decode())


class _Grant(Exception):
    """What the token endpoint refuses; it has its own shape of errors."""


@functools.cache
def _pair(whose: str) -> tuple[bytes, bytes]:
    """A private key and its public one; made once for each, for it takes a while."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public
