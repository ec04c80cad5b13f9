# One image with everything inside: binary, model, ONNX Runtime. It needs no network but that to the providers.

FROM rust:1.95-bookworm AS build
# Debian's packages are not pinned: whoever builds an image wants their fixes.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends nodejs npm python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
# The caches keep cargo's downloads and what it built between two builds of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    make dist && mv dist/* /refrain

FROM debian:bookworm-slim
# The providers' certificates, and what the health check asks with.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home refrain \
 && install -d -o refrain -g refrain -m 0700 /data
COPY --from=build /refrain /opt/refrain
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080 9464
# Both addresses are reachable from outside the container, so the server refuses to start without a key.
ENV REFRAIN__DATA_DIR=/data \
    REFRAIN__SERVER__LISTEN=0.0.0.0:8080 \
    REFRAIN__SERVER__ADMIN_LISTEN=0.0.0.0:9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["curl", "-fsS", "-o", "/dev/null", "http://127.0.0.1:8080/health/ready"]
ENTRYPOINT ["/opt/refrain/refrain"]
CMD ["serve"]
