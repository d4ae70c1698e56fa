# Mediagate as an image: built in one stage, run by an unprivileged user in a slim one.
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mediagate
WORKDIR /source
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY service service
# Every dependency comes as a wheel: no compiler is needed, and none gets into the image.
RUN /opt/mediagate/bin/pip install --no-cache-dir --only-binary=:all: .

FROM ${PYTHON_IMAGE}
ARG VERSION=dev
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="Mediagate" \
      org.opencontainers.image.description="Streaming REST gateway in front of MinIO or any S3 store, with object metadata in MongoDB" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin mediagate
COPY --from=build /opt/mediagate /opt/mediagate
ENV PATH=/opt/mediagate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MEDIAGATE_HTTP__HOST=0.0.0.0 \
    MEDIAGATE_HTTP__PORT=8080
WORKDIR /var/empty
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["mediagate", "health"]
ENTRYPOINT ["mediagate"]
CMD ["serve"]
