# portfolio: an image of Relight 0.1.0, rendered from relight.toml.
# Build it with `relight image build`, or with any builder in the folder that `relight image print --context` makes.
# Stages install and check; the last one only copies, so that nothing which builds is in it.

# Pin it by its digest, to build the same again: --build-arg BASE_IMAGE=NAME@sha256:…
ARG BASE_IMAGE=python:3.12-slim-bookworm

# --- what builds, and stays behind: pip, and what takes debug symbols out
FROM ${BASE_IMAGE} AS tools
ENV PYTHONDONTWRITEBYTECODE=1
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && python3 -m venv /build

# --- bytecode of Python's own library: official images come without, and would compile it at every start
FROM tools AS library
RUN lib="$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" && \
    python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(site-packages|dist-packages|test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data)/' "$lib" && \
    mkdir -p /library/usr && \
    find "$lib" -name '*.pyc' -newer /build/pyvenv.cfg -print0 | \
    tar --create --null --files-from=- | tar --extract --directory=/library

# --- Python packages, in the versions of constraints.txt
FROM tools AS dependencies
COPY requirements.txt constraints.txt /build/
RUN python3 -m venv --without-pip /opt/relight/venv && \
    printf '/opt/relight/code\n/opt/relight/engine\n' > "$(echo /opt/relight/venv/lib/python3*/site-packages)/relight.pth"
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/var/cache/pip \
    /build/bin/pip --cache-dir=/var/cache/pip --disable-pip-version-check --python /opt/relight/venv/bin/python3 install \
        --no-compile --constraint /build/constraints.txt --requirement /build/requirements.txt
# Out: tests, what only builds or converts, a C library that onnxruntime's module does not load, debug symbols
RUN cd /opt/relight/venv/lib/python3*/site-packages && \
    find . -depth -type d -name tests -exec rm -rf {} + && \
    find . -type f \( -name '*.a' -o -name '*.c' -o -name '*.h' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.pyx' \) -delete && \
    rm -rf onnxruntime/capi/libonnxruntime.so* numpy/distutils numpy/f2py onnxruntime/quantization onnxruntime/tools onnxruntime/transformers && \
    find /opt/relight/venv/lib -name '*.so' | while read -r file; do \
        if readelf --sections "$file" | grep -q '\.debug_info'; then strip --strip-debug "$file"; fi; \
    done && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/relight/venv/lib

# --- the engine: its debug symbols are three quarters of the wheel; the OpenMP runtime comes from the system
FROM tools AS engine
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=cache,target=/var/cache/pip \
    /build/bin/pip --cache-dir=/var/cache/pip --disable-pip-version-check install \
        --no-compile --no-deps --target /opt/relight/engine xllamacpp==2026.10.11549
RUN find /opt/relight/engine -name '*.so*' -type f -exec strip --strip-unneeded {} + && \
    mkdir /opt/relight/engine/lib && \
    cp --dereference "$(dpkg --listfiles libgomp1 | grep '/libgomp.so.1$')" /opt/relight/engine/lib/ && \
    dpkg-query --show --showformat='${Package} ${Version} ${Architecture}\n' libgomp1 \
        > /opt/relight/engine/lib/packages && \
    python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/relight/engine

# --- weights: nothing enters whose digest is not the configured one
FROM ${BASE_IMAGE} AS weights
COPY weights/ /weights/
RUN cd /weights && sha256sum --check --strict SHA256SUMS

# --- Relight itself
FROM tools AS code
COPY relight-0.1.0-py3-none-any.whl /build/
RUN /build/bin/pip --disable-pip-version-check install --no-index --no-deps --no-compile --target /opt/relight/code \
        /build/relight-0.1.0-py3-none-any.whl && \
    rm -rf /opt/relight/code/bin && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/relight/code

# --- the inventory (CycloneDX): what is installed, by looking at it
FROM dependencies AS inventory
RUN --mount=type=bind,from=code,source=/opt/relight/code,target=/opt/relight/code \
    --mount=type=bind,from=engine,source=/opt/relight/engine,target=/opt/relight/engine \
    --mount=type=bind,from=weights,source=/weights,target=/weights \
    mkdir /inventory && /opt/relight/venv/bin/python3 -P -m relight.deploy.sbom portfolio > /inventory/sbom.cdx.json

# --- the image
FROM ${BASE_IMAGE}
ARG BASE_IMAGE
# Python packages, and the bytecode of Python's own library
COPY --from=library ["/library/usr", "/usr"]
COPY --from=dependencies ["/opt/relight/venv", "/opt/relight/venv"]
# the engine
COPY --from=engine ["/opt/relight/engine", "/opt/relight/engine"]
# weights, a layer a model
COPY --from=weights ["/weights/srv/weights/hf/me/tiny/main/tiny.gguf", "/weights/srv/weights/hf/me/tiny/main/tiny.gguf.json", "/srv/weights/hf/me/tiny/main/"]
COPY --from=weights ["/weights/srv/app/models/own.gguf", "/srv/app/models/own.gguf"]
COPY --from=weights ["/weights/srv/weights/file/0123456789abcdef.json", "/srv/weights/file/0123456789abcdef.json"]
# what the assistant tells modes by
COPY ["detector/", "/srv/weights/assistant"]
# prefix snapshots: read at a wake instead of the prompt
COPY ["prefixes/", "/srv/prefixes"]
# Relight, the inventory, the configuration with its prompts and knowledge
COPY --from=code ["/opt/relight/code", "/opt/relight/code"]
COPY --from=inventory ["/inventory/", "/usr/share/relight"]
COPY ["app/", "/srv/app"]

ENV HOME="/tmp" \
    RELIGHT_SERVER__HOST="0.0.0.0" \
    RELIGHT_SERVER__PORT="8080" \
    RELIGHT_WEIGHTS__DIR="/srv/weights" \
    RELIGHT_PREFIXES__DIR="/srv/prefixes" \
    RELIGHT_PREFIXES__LEARN="false" \
    RELIGHT_LOG__FORMAT="json" \
    LD_LIBRARY_PATH="/opt/relight/engine/lib"
LABEL org.opencontainers.image.title="portfolio" \
      org.opencontainers.image.description="portfolio, served by Relight" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      dev.relight.version="0.1.0" \
      dev.relight.sbom="/usr/share/relight/sbom.cdx.json" \
      dev.relight.weights.smol="sha256:abababababababababababababababababababababababababababababababab" \
      dev.relight.weights.own="sha256:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
WORKDIR /srv/app
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/relight/venv/bin/python3", "-P", "-m", "relight"]
CMD ["serve", "--config", "/srv/app/relight.toml"]
