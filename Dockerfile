# The image of Satchel: the program and the libraries it loads, nothing else; no shell, no root.
#
#   docker build -t satchel .                       the small image
#   docker build -t satchel:debian --target debian . the same with Debian's tools, to look around in
#   deploy/build-image.sh                           on a machine without Docker or without a registry
#
# BASE may be any Debian 12 image.
ARG BASE=debian:bookworm-slim

# --- compile -------------------------------------------------------------------------------------
FROM ${BASE} AS build
WORKDIR /src
COPY deploy/install-packages.sh deploy/
RUN deploy/install-packages.sh --build
COPY CMakeLists.txt CMakePresets.json LICENSE ./
COPY .cmake .cmake
COPY cache cache
COPY rules rules
COPY proxy proxy
RUN cmake --preset release -DSATCHEL_TESTS=OFF -DSATCHEL_BENCHMARKS=OFF \
      -DCMAKE_INSTALL_PREFIX=/usr \
 && cmake --build --preset release --target satchel \
 && DESTDIR=/out cmake --install build/release --strip

# --- Debian with the shared libraries and the program ---------------------------------------------
FROM ${BASE} AS debian
COPY deploy/install-packages.sh /tmp/install-packages.sh
RUN /tmp/install-packages.sh --runtime \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /tmp/install-packages.sh \
 && groupadd --gid 10001 satchel \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin satchel \
 && mkdir -p /etc/satchel
COPY --from=build /out/usr/bin/satchel /usr/bin/satchel
RUN satchel --version
USER 10001:10001
EXPOSE 8080 9901
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["satchel", "healthcheck"]
ENTRYPOINT ["satchel"]
CMD ["run", "-c", "/etc/satchel/rules.yaml"]

# --- only what the program loads -------------------------------------------------------------------
FROM debian AS rootfs
USER 0:0
COPY deploy/collect-runtime.sh /tmp/collect-runtime.sh
RUN /tmp/collect-runtime.sh /usr/bin/satchel /rootfs

# --- the image ---------------------------------------------------------------------------------------
FROM scratch AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Satchel" \
      org.opencontainers.image.description="A caching reverse proxy: sidecar or front proxy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=rootfs /rootfs/ /
ENV PATH=/usr/bin
USER 10001:10001
EXPOSE 8080 9901
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["satchel", "healthcheck"]
ENTRYPOINT ["satchel"]
CMD ["run", "-c", "/etc/satchel/rules.yaml"]
