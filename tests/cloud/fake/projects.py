"""The project: the resource manager, its billing account, how long its logs are kept, and whose a token is."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from tests.cloud.fake.policies import Policies
from tests.cloud.fake.server import Api, Fake, Refused, Reply, Request, Route

_PROJECT = r"/v3/projects/(?P<project>[^/:]+)"


class Projects(Api):
    """One project. Its policy lies under `project` in `policies`."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.policies = Policies()
        self.state = "ACTIVE"
        self.has_billing = True
        self.may_see = True
        """Whether whoever asks may look at the project."""
        self.permissions: set[str] | None = None
        """What whoever asks may do; None: everything."""
        self.untestable: set[str] = set()
        """Permissions that cannot be asked of a project."""
        self.retention_days: int | None = None
        """Of its logs; None: as in every new project, where nothing is said of it."""
        self.owners: dict[str, str] = {}
        """E-mail addresses by token."""

    def members(self, role: str) -> set[str]:
        """Who has a role on the project."""
        return self.policies.members("project", role)

    def routes(self) -> list[Route]:
        return [
            ("GET", _PROJECT, self._get),
            ("POST", rf"{_PROJECT}:testIamPermissions", self._test),
            ("POST", rf"{_PROJECT}:getIamPolicy", self._get_policy),
            ("POST", rf"{_PROJECT}:setIamPolicy", self._set_policy),
            ("GET", r"/v1/projects/(?P<project>[^/]+)/billingInfo", self._billing),
            ("GET", r"/v2/projects/(?P<project>[^/]+)/locations/global/buckets/_Default", self._logs),
            ("POST", r"/tokeninfo", self._token),
        ]

    def _get(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "cloudresourcemanager")
        name = f"projects/{self.fake.number}"
        return {"name": name, "projectId": self.fake.project, "state": self.state, "displayName": "My project", "etag": "abc"}

    def _test(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "cloudresourcemanager")
        wanted: list[str] = _fields(request, "permissions")["permissions"]
        if len(wanted) > 100 or len(set(wanted)) < len(wanted):
            raise Refused(400, "INVALID_ARGUMENT", "At most 100 permissions, each once.")
        if strange := [one for one in wanted if one.count(".") < 2 or "*" in one or one in self.untestable]:
            raise Refused(400, "INVALID_ARGUMENT", f"Permission {strange[0]} is not valid for this resource.")
        found = [one for one in wanted if self.permissions is None or one in self.permissions]
        return {"permissions": found} if found else {}

    def _get_policy(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "cloudresourcemanager", right="getIamPolicy")
        options = _fields(request, "options").get("options", {})
        return self.policies.get("project", options.get("requestedPolicyVersion", 1))

    def _set_policy(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "cloudresourcemanager", right="setIamPolicy")
        policy = _fields(request, "policy", "updateMask")["policy"]
        for member in (member for binding in policy.get("bindings", []) for member in binding["members"]):
            if member.startswith("all"):
                raise Refused(400, "INVALID_ARGUMENT", f"Member {member} is not supported on projects.")
            self.fake.iam.demand(member)  # type: ignore[attr-defined]
        return self.policies.set("project", policy)

    def _billing(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "cloudbilling")
        found = {"name": f"projects/{project}/billingInfo", "projectId": self.fake.project}
        if self.has_billing:
            return {**found, "billingAccountName": "billingAccounts/012345-678901-ABCDEF", "billingEnabled": True}
        return found

    def _logs(self, request: Request, project: str) -> dict[str, Any]:
        request.only()
        self._check(project, "logging")
        found: dict[str, Any] = {"name": f"projects/{project}/locations/global/buckets/_Default", "lifecycleState": "ACTIVE"}
        return found if self.retention_days is None else {**found, "retentionDays": self.retention_days}

    def _token(self, request: Request) -> Reply | dict[str, Any]:
        request.only()
        (token,) = parse_qs(request.body.decode())["access_token"]
        if token not in self.owners:
            return Reply(b'{"error": "invalid_token", "error_description": "Invalid Value"}', 400)
        return {"email": self.owners[token], "email_verified": "true", "expires_in": "3599", "access_type": "offline"}

    def _check(self, project: str, api: str, *, right: str = "get") -> None:
        self.fake.usage.demand(api)  # type: ignore[attr-defined]
        permission = f"resourcemanager.projects.{right}"
        is_allowed = self.may_see and (right == "get" or self.permissions is None or permission in self.permissions)
        if project not in {self.fake.project, self.fake.number} or not is_allowed:
            raise Refused(403, "PERMISSION_DENIED", "The caller does not have permission")


def _fields(request: Request, *known: str) -> dict[str, Any]:
    body: dict[str, Any] = request.json()
    if strange := set(body) - set(known):
        raise Refused(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. Unknown name {sorted(strange)}")
    return body
