"""IAM: service accounts, which exist a while before all of Google knows of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.cloud.fake.paging import paged
from tests.cloud.fake.policies import Policies
from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_ACCOUNTS = r"/v1/projects/(?P<project>[^/]+)/serviceAccounts"
_ACCOUNT = _ACCOUNTS + r"/(?P<email>[^/:]+)"
_ID = re.compile(r"(?=.{6,30}$)[a-z]([-a-z0-9]*[a-z0-9])")


@dataclass
class Account:
    """A service account; others know of it from request `known_at` on, and it can be looked at from `seen_at` on."""

    display_name: str = ""
    description: str = ""
    known_at: int = 0
    seen_at: int = 0


class Iam(Api):
    """Service accounts of the project by e-mail address. Nobody here may look at those of other projects."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.accounts: dict[str, Account] = {}
        self.policies = Policies()
        """By e-mail address."""
        self.delay = 0
        """Requests until a fresh account can be named in a policy."""
        self.unseen = 0
        """Requests until a fresh account can be looked at."""
        self.may = {"create", "get", "list", "delete", "getIamPolicy", "setIamPolicy", "actAs"}
        """What whoever asks may do, of `iam.serviceAccounts.…`."""
        self.page = 2
        """Accounts of a page; few, so that everybody has to turn it."""

    # --- for tests, and for the other APIs

    def make(self, email: str, description: str = "") -> None:
        """An account that has been there for long."""
        self.accounts[email] = Account(description=description)

    def demand(self, member: str) -> None:
        """Refuses a member of a policy, as Google does, that is a service account of the project and not (yet) there.

        Takes `serviceAccount:…`, an address alone, and whatever else stands in policies.
        """
        kind, _, email = member.rpartition(":")
        if kind not in {"", "serviceAccount"} or not email.endswith(f"@{self.fake.project}.iam.gserviceaccount.com"):
            return
        found = self.accounts.get(email)
        if found is None or found.known_at > self.fake.now:
            raise Refused(400, "INVALID_ARGUMENT", f"Service account {email} does not exist.")

    # --- the API

    def routes(self) -> list[Route]:
        return [
            ("POST", _ACCOUNTS, self._create),
            ("GET", _ACCOUNTS, self._list),
            ("GET", _ACCOUNT, self._get),
            ("DELETE", _ACCOUNT, self._delete),
            ("POST", rf"{_ACCOUNT}:testIamPermissions", self._test),
            ("POST", rf"{_ACCOUNT}:getIamPolicy", self._get_policy),
            ("POST", rf"{_ACCOUNT}:setIamPolicy", self._set_policy),
        ]

    def _create(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "create")
        body, about = request.json(), request.json().get("serviceAccount", {})
        if strange := (set(body) - {"accountId", "serviceAccount"}) | (set(about) - {"displayName", "description"}):
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. Unknown name {sorted(strange)}")
        if not _ID.fullmatch(body.get("accountId", "")):
            raise Refused(400, "INVALID_ARGUMENT", f"The account ID {body.get('accountId')!r} does not have 6 to 30 characters.")
        if len(about.get("displayName", "")) > 100 or len(about.get("description", "")) > 256:
            raise Refused(400, "INVALID_ARGUMENT", "The display name or the description is too long.")
        email = f"{body['accountId']}@{self.fake.project}.iam.gserviceaccount.com"
        if email in self.accounts:
            raise Refused(409, "ALREADY_EXISTS", f"Service account {body['accountId']} already exists within project.")
        made = Account(about.get("displayName", ""), about.get("description", ""))
        made.known_at, made.seen_at = self.fake.now + self.delay, self.fake.now + self.unseen
        self.accounts[email] = made
        return self._said(email)

    def _list(self, request: Request, project: str) -> dict[str, Any]:
        query = request.only("pageSize", "pageToken")
        self._check(project, "list")
        part, token = paged(sorted(self.accounts), query, most=self.page)
        return {"accounts": [self._said(email) for email in part]} | ({"nextPageToken": token} if token else {})

    def _get(self, request: Request, project: str, email: str) -> dict[str, Any]:
        request.only()
        self._find(project, email, "get")
        return self._said(email)

    def _delete(self, request: Request, project: str, email: str) -> dict[str, Any]:
        request.only()
        self._find(project, email, "delete")
        del self.accounts[email]
        self.fake.projects.policies.forget(f"serviceAccount:{email}")  # type: ignore[attr-defined]
        return {}

    def _test(self, request: Request, project: str, email: str) -> dict[str, Any]:
        request.only()
        self._find(project, email)
        body = request.json()
        if strange := set(body) - {"permissions"}:
            raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. Unknown name {sorted(strange)}")
        found = [one for one in body["permissions"] if one.removeprefix("iam.serviceAccounts.") in self.may]
        return {"permissions": found} if found else {}

    def _get_policy(self, request: Request, project: str, email: str) -> dict[str, Any]:
        version = int(request.only("options.requestedPolicyVersion").get("options.requestedPolicyVersion", 1))
        self._find(project, email, "getIamPolicy")
        return self.policies.get(email, version)

    def _set_policy(self, request: Request, project: str, email: str) -> dict[str, Any]:
        request.only()
        self._find(project, email, "setIamPolicy")
        policy = request.json()["policy"]
        for member in (member for binding in policy.get("bindings", []) for member in binding["members"]):
            self.demand(member)
        return self.policies.set(email, policy)

    # --- what it is made of

    def _check(self, project: str, right: str | None) -> None:
        self.fake.usage.demand("iam")  # type: ignore[attr-defined]
        if project not in {self.fake.project, self.fake.number, "-"} or (right is not None and right not in self.may):
            what = f"Permission 'iam.serviceAccounts.{right}' denied on resource (or it may not exist)."
            raise Refused(403, "PERMISSION_DENIED", what)

    def _find(self, project: str, email: str, right: str | None = None) -> None:
        self._check(project, right)
        found = self.accounts.get(email)
        if found is None or found.seen_at > self.fake.now:
            if project == "-":
                raise Refused(403, "PERMISSION_DENIED", f"Permission 'iam.serviceAccounts.{right}' denied on resource.")
            raise Refused(404, "NOT_FOUND", "Unknown service account")

    def _said(self, email: str) -> dict[str, Any]:
        found = self.accounts[email]
        said = {
            "name": f"projects/{self.fake.project}/serviceAccounts/{email}",
            "projectId": self.fake.project,
            "email": email,
            "displayName": found.display_name,
            "description": found.description,
            "uniqueId": str(100000000000000000000 + sum(email.encode())),
        }
        return {key: text for key, text in said.items() if text}
