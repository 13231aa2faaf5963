# syntax=docker/dockerfile:1
# The image of collector, API and every other command; agents have a smaller one.
#   docker build -f deploy/server.Dockerfile -t tailwatch-server .
# One Debian and one minor release of Python for both stages: the environment points at the interpreter by its path.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ARG EXTRAS=api,analytics,grafana
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY agents agents
COPY analytics analytics
COPY api api
COPY collector collector
COPY pipeline pipeline
COPY quantiles quantiles
COPY store store
COPY tailwatch tailwatch
COPY wire wire
RUN --mount=type=cache,target=/var/cache/pip \
    export PIP_CACHE_DIR=/var/cache/pip \
    && python -m pip wheel --disable-pip-version-check --no-deps --wheel-dir /wheels . \
    && python -m venv --without-pip /opt/tailwatch \
    && wheel=$(echo /wheels/tailwatch-*.whl) \
    && python -m pip --python /opt/tailwatch/bin/python install --disable-pip-version-check \
        -c constraints.txt "${wheel}${EXTRAS:+[${EXTRAS}]}"

FROM python:${PYTHON} AS runtime
LABEL org.opencontainers.image.title="Tailwatch collector, API and command line" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN mkdir -p /etc/tailwatch /run/tailwatch /var/lib/tailwatch \
    && chown 10001:10001 /run/tailwatch /var/lib/tailwatch
COPY --from=build /opt/tailwatch /opt/tailwatch
COPY --chmod=0444 deploy/healthcheck.py /opt/tailwatch/healthcheck.py
ENV PATH=/opt/tailwatch/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HEALTH_URL=http://127.0.0.1:8080/readyz \
    NUMBA_CACHE_DIR=/tmp/numba
USER 10001:10001
WORKDIR /var/lib/tailwatch
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "/opt/tailwatch/healthcheck.py"]
ENTRYPOINT ["tailwatch"]
CMD ["api", "run", "--config", "/etc/tailwatch/api.yaml"]
