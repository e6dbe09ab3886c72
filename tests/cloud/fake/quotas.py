"""Cloud Quotas: what a project may take of Cloud Run, region by region."""

from __future__ import annotations

from typing import Any

from tests.cloud.fake.server import Api, Fake, Refused, Request, Route

_INFO = r"/v1/projects/(?P<project>[^/]+)/locations/global/services/(?P<service>[^/]+)/quotaInfos/(?P<quota>[^/:]+)"
EVERYWHERE = "everywhere"
"""Stands for all regions that have no limit of their own."""


class Quotas(Api):
    """Limits by quota and region, as a new project has them; `limits` can be changed."""

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self.limits: dict[str, dict[str, int]] = {
            "CpuAllocPerProjectRegion": {EVERYWHERE: 20_000},
            "MemAllocPerProjectRegion": {EVERYWHERE: 40 << 30},
            "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": {"europe-west4": 3, "us-central1": 0},
            "NvidiaL4GpuAllocPerProjectRegion": {EVERYWHERE: 0},
            "NvidiaRtxPro6000GpuAllocNoZonalRedundancyPerProjectRegion": {"europe-west4": 1000},
        }
        self.may_see = True

    def routes(self) -> list[Route]:
        return [("GET", _INFO, self._info)]

    def _info(self, request: Request, project: str, service: str, quota: str) -> dict[str, Any]:
        request.only()
        self.fake.usage.demand("cloudquotas")  # type: ignore[attr-defined]
        if project not in {self.fake.project, self.fake.number} or not self.may_see:
            raise Refused(403, "PERMISSION_DENIED", "Permission 'cloudquotas.quotas.get' denied on resource.")
        name = f"projects/{self.fake.number}/locations/global/services/{service}/quotaInfos/{quota}"
        if service != "run.googleapis.com" or quota not in self.limits:
            raise Refused(404, "NOT_FOUND", f"Quota info {name} was not found.")
        infos = [_dimensions(region, limit) for region, limit in self.limits[quota].items()]
        return {"name": name, "quotaId": quota, "service": service, "dimensions": ["region"], "dimensionsInfos": infos}


def _dimensions(region: str, limit: int) -> dict[str, Any]:
    # As all of Google's JSON: numbers of 64 bits are texts, and a 0 is left out.
    details = {"value": str(limit)} if limit else {}
    if region == EVERYWHERE:
        return {"details": details, "applicableLocations": ["asia-southeast1", "europe-west1", "europe-west4", "us-central1"]}
    return {"dimensions": {"region": region}, "details": details, "applicableLocations": [region]}
