# syntax=docker/dockerfile:1
# One file for all images: VARIANT=cuda (unless said otherwise) or VARIANT=cpu; with `--target bitnet`, bitnet.cpp too.
# docs/deploy.md says how to build and run them.
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build
ARG VARIANT=cuda
WORKDIR /build
RUN python -m venv /opt/tools && python -m venv /opt/turbov2
COPY requirements requirements
# The libraries' layer comes first: it stays as it is while only our own code changes.
# No cache mount: Railway's builder refuses those without an id of its own.
ENV PIP_NO_CACHE_DIR=1
RUN case "${VARIANT}" in \
      cuda) list=cuda ;; \
      cpu) list=serve ;; \
      *) echo "VARIANT=${VARIANT}: say cuda or cpu" >&2; exit 1 ;; \
    esac; \
    /opt/turbov2/bin/python -m pip install --require-hashes --only-binary :all: --requirement "requirements/${list}.txt" \
    && /opt/tools/bin/python -m pip install --require-hashes --only-binary :all: --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/tools/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/turbov2/bin/python -m pip install --no-deps --no-index wheels/*.whl

FROM ${PYTHON_IMAGE} AS bitnet-build
ARG BITNET_COMMIT=16da220ae2b510caff437d403288882687f44ae5
WORKDIR /build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates clang cmake git make \
    && rm -rf /var/lib/apt/lists/*
RUN git init --quiet . \
    && git fetch --quiet --depth 1 https://github.com/microsoft/BitNet.git "${BITNET_COMMIT}" \
    && git checkout --quiet FETCH_HEAD \
    && git submodule update --quiet --init --recursive --depth 1
# One static program for any x86-64 with AVX2, rather than for the machine that builds it.
RUN cmake -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
      -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_COMMON=ON \
      -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_EXAMPLES=ON -DLLAMA_BUILD_SERVER=ON \
    && cmake --build build --parallel --target llama-server

FROM ${PYTHON_IMAGE} AS server
RUN groupadd --gid 10001 turbov2 \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/turbov2 --no-create-home --shell /usr/sbin/nologin turbov2 \
    && install --directory --owner 10001 --group 10001 --mode 0750 /var/lib/turbov2
COPY --from=build /opt/turbov2 /opt/turbov2
ENV PATH=/opt/turbov2/bin:${PATH} \
    HOME=/var/lib/turbov2 \
    HOST=0.0.0.0 \
    PORT=11435 \
    TURBOV2_HOME=/var/lib/turbov2 \
    HF_HOME=/var/lib/turbov2/hub \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
# Models, jobs and sound on its way: all that the server writes, but for /tmp. Mount a volume there. It is not declared
# as one, for Railway's builder refuses images that do.
WORKDIR /var/lib/turbov2
EXPOSE 11435
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
there = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 11435), timeout=4); \
there.request('GET', '/readyz'); \
sys.exit(there.getresponse().status != 200)"]
ENTRYPOINT ["turbov2"]
CMD ["serve"]

FROM server AS bitnet
COPY --from=bitnet-build /build/build/bin/llama-server /opt/bitnet/build/bin/llama-server
ENV BITNET_PATH=/opt/bitnet

# The image that is built when no target is named.
FROM server
