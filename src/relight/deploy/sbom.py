"""Lists what is in an image, by looking at it: run there as `python -m relight.deploy.sbom NAME`, prints CycloneDX 1.6.

Standard library only. Python packages by their metadata, Debian's by their status file, weights by their checked digests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]


def inventory(name: str, root: Path, packages: Iterable[Distribution]) -> dict[str, Any]:
    """The bill of materials of the image `name` whose files lie below `root`; the same for the same files."""
    system = _system(root / "etc/os-release")
    found = [*_python(packages), *_debian(root, system.get("ID", "debian")), *_weights(root / "weights/SHA256SUMS")]
    components = {one["bom-ref"]: one for one in found}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "bom-ref": f"image:{name}"}},
        "components": [components[ref] for ref in sorted(components)],
    }


def _python(packages: Iterable[Distribution]) -> Iterator[Component]:
    for package in packages:
        meta = package.metadata
        address = f"pkg:pypi/{meta['Name'].lower().replace('_', '-')}@{quote(package.version)}"
        component: Component = {
            "type": "library",
            "bom-ref": address,
            "name": meta["Name"],
            "version": package.version,
            "purl": address,
        }
        # Only what is written as SPDX says it: the older field is free text.
        if "License-Expression" in meta:
            component["licenses"] = [{"expression": meta["License-Expression"]}]
        yield component


def _debian(root: Path, system: str) -> Iterator[Component]:
    for fields in (*_paragraphs(root / "var/lib/dpkg/status"), *_copied(root / "opt/relight/engine/lib/packages")):
        if "installed" not in fields.get("Status", "install ok installed").split():
            continue
        name, version, architecture = (fields.get(key, "") for key in ("Package", "Version", "Architecture"))
        address = f"pkg:deb/{system}/{quote(name)}@{quote(version)}?arch={architecture}"
        yield {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def _paragraphs(file: Path) -> Iterator[dict[str, str]]:
    """The entries of a Debian control file; of those that go on over lines, the first."""
    for paragraph in _text(file).split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" "))
        fields = {key: value for key, _, value in lines}
        if "Package" in fields:
            yield fields


def _copied(file: Path) -> Iterator[dict[str, str]]:
    """Packages of which only a library was taken: `NAME VERSION ARCHITECTURE` a line."""
    for line in _text(file).splitlines():
        yield dict(zip(("Package", "Version", "Architecture"), line.split(), strict=True))


def _weights(sums: Path) -> Iterator[Component]:
    for line in _text(sums).splitlines():
        digest, _, path = line.partition("  ")
        if path.endswith(".json"):
            continue
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"sha256:{digest}",
            "name": path.rpartition("/")[2],
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }


def _system(file: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in _text(file).splitlines())
    return {key: value.strip('"') for key, _, value in pairs}


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


if __name__ == "__main__":
    print(json.dumps(inventory(sys.argv[1], Path("/"), distributions()), indent=1))
