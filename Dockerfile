# The images of CLI Scale, one target each: `controller`, `gateway`, `runner` and `all-in-one`.
#   docker build --target runner --tag cliscale-runner .
#   docker build --target all-in-one --tag cliscale . && docker run -p 127.0.0.1:8080:8080 cliscale
# Binaries that are there already take the place of the builder's, in one folder: --build-context binaries=FOLDER. The
# tests build the same targets so, on bases of their own.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG NODE_IMAGE=node:22-bookworm-slim
# What controller and gateway stand on: a C library is all that they need, so a distroless one does as well.
ARG SERVICE_IMAGE=debian:bookworm-slim
# What sessions' commands find: a Debian with Node.js 20 or later and npm.
ARG RUNNER_IMAGE=${NODE_IMAGE}

# --- The page that the gateway embeds
FROM ${NODE_IMAGE} AS web
WORKDIR /build
COPY gateway/web/package.json gateway/web/package-lock.json ./
RUN npm ci --no-fund --no-audit
COPY gateway/web ./
RUN npm run build

# --- The programs. Dependencies are compiled from the recipe alone: changed sources leave that layer as it is.
FROM ${RUST_IMAGE} AS chef
ARG CARGO_CHEF_VERSION=0.1.78
RUN cargo install cargo-chef --locked --version "${CARGO_CHEF_VERSION}"
WORKDIR /build

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json

FROM chef AS build
ARG PROFILE=release
ARG PACKAGES="--package cli --package controller --package gateway --package runner"
ENV CARGO_INCREMENTAL=0
COPY tools/static-runner tools/
COPY --from=planner /recipe.json /recipe.json
RUN cargo chef cook --locked --profile "${PROFILE}" ${PACKAGES} --bins --recipe-path /recipe.json
COPY . .
COPY --from=web /build/dist gateway/web/dist
RUN cargo build --locked --profile "${PROFILE}" ${PACKAGES} --bins \
    && folder=target/$(echo "${PROFILE}" | sed 's/^dev$/debug/') \
    && tools/static-runner check "${folder}/cliscale-runner" \
    && install -D -t /out "${folder}/cliscale" "${folder}/cliscale-controller" "${folder}/cliscale-gateway" \
        "${folder}/cliscale-runner"

FROM scratch AS binaries
COPY --from=build /out/ /

# --- What sessions' commands expect to find, and where they may write
FROM ${RUNNER_IMAGE} AS workspace
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        bash bzip2 ca-certificates curl file git jq less make nano openssh-client patch procps python3 python3-pip \
        python3-venv ripgrep tini unzip xz-utils zip \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
    # Nobody here becomes somebody else.
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    # Tools like git, ssh and npm want their user to have a name.
    && groupadd --gid 10001 runner \
    && useradd --uid 10001 --gid 10001 --comment "CLI Scale" --home-dir /workspace/home --no-create-home --shell /bin/bash runner \
    && install -d -o runner -g runner /workspace /var/spool/cliscale \
    # A commit needs an author. Whoever has a name of their own says so in their own configuration, which comes later.
    && git config --system user.name "CLI Scale" \
    && git config --system user.email runner@cliscale.invalid \
    && git config --system init.defaultBranch main \
    # The root file system is read-only in a pod: what a command installs for itself belongs to its home. Login shells set
    # their PATH anew, which is why this is not an ENV.
    && printf '%s\n' 'export PATH="$HOME/.local/bin:$PATH"' 'export NPM_CONFIG_PREFIX="$HOME/.local"' \
        'export PIP_BREAK_SYSTEM_PACKAGES=1' > /etc/profile.d/cliscale.sh \
    # Every command's shell reads this first: for what it knows by itself, it need not wait for two other programs.
    && sed -i -e 's|"$(id -u)"|"${EUID:-$(id -u)}"|' \
        -e 's|$(run-parts --list .* /etc/profile.d)|/etc/profile.d/[a-zA-Z0-9_]*.sh|' /etc/profile
ENV LANG=C.UTF-8
LABEL org.opencontainers.image.vendor="CLI Scale" org.opencontainers.image.licenses="Apache-2.0"

# --- What controller and gateway share: a user with a name, whom no file belongs to
FROM ${RUNNER_IMAGE} AS accounts
RUN mkdir -p /out/etc \
    && printf '%s\n' root:x:0:0:root:/root:/sbin/nologin \
        cliscale:x:10001:10001:cliscale:/nonexistent:/sbin/nologin > /out/etc/passwd \
    && printf '%s\n' root:x:0: cliscale:x:10001: > /out/etc/group

FROM ${SERVICE_IMAGE} AS service
COPY --from=accounts /out/ /
USER 10001:10001
LABEL org.opencontainers.image.vendor="CLI Scale" org.opencontainers.image.licenses="Apache-2.0"

FROM service AS controller
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cliscale-controller" \
    org.opencontainers.image.description="CLI Scale: the public API and the life of sessions and runners" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
# The API, the runners' port, metrics and health.
EXPOSE 8080 8081 9090
ENTRYPOINT ["/usr/local/bin/cliscale-controller"]
# Recordings may go to a bucket: who vouches for its host.
COPY --from=workspace /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=binaries /cliscale-controller /usr/local/bin/

FROM service AS gateway
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cliscale-gateway" \
    org.opencontainers.image.description="CLI Scale: terminals from browsers to runners" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
# Terminals; metrics and health.
EXPOSE 8080 9090
ENTRYPOINT ["/usr/local/bin/cliscale-gateway"]
COPY --from=binaries /cliscale-gateway /usr/local/bin/

# --- Where sessions run
FROM workspace AS runner
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cliscale-runner" \
    org.opencontainers.image.description="CLI Scale: where sessions run" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
ENV HOME=/workspace/home CLISCALE_HOME=/workspace/home CLISCALE_WORKSPACE=/workspace/code
WORKDIR /workspace
USER 10001:10001
EXPOSE 7681
ENTRYPOINT ["/usr/local/bin/cliscale-runner"]
COPY --from=binaries /cliscale-runner /usr/local/bin/

# --- Everything in one process, for one machine. Its sessions share the container: there is no wall between them.
FROM workspace AS all-in-one
RUN usermod --login cliscale --home /data runner \
    && groupmod --new-name cliscale runner \
    && install -d -m 0700 -o cliscale -g cliscale /data
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="cliscale" \
    org.opencontainers.image.description="CLI Scale on one machine: API, terminals and sessions in one container" \
    org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
# The container's own loopback is out of reach for a published port; what it is published on is for `docker run` to say,
# and where that is not 127.0.0.1:8080, CLISCALE_PUBLIC_URL says it here.
ENV HOME=/data CLISCALE_DATA_DIR=/data CLISCALE_LISTEN=0.0.0.0:8080 CLISCALE_EXPOSE=1 \
    CLISCALE_PUBLIC_URL=http://127.0.0.1:8080
WORKDIR /data
VOLUME /data
USER 10001:10001
EXPOSE 8080
# The init reaps what sessions leave behind, and hands signals on.
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/cliscale"]
CMD ["up", "--demo"]
COPY --from=binaries /cliscale /cliscale-runner /usr/local/bin/
