# The one image of all roles. Built by `npm run image` with buildah, by `docker build .`, and by Compose.
#
#   docker run -p 127.0.0.1:8080:8080 -e PACKSHOT_OPEN=1 -v packshot:/data packshot           all in one container
#   docker run ... packshot (server | worker | storage setup | keys ... | jobs ... | models ... | generate ...)
#
# The base has the version of Node that package.json pins and the tests run on; `npm ci --ignore-scripts` leaves the
# package "node" without its binary, so there is one Node in the image. `docker buildx imagetools inspect NAME:TAG`
# tells the digest of a newer one.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim@sha256:0e0ff40c39bc087845bfb27465a0df4ea419520094bc35842ff83dd8cbe6f9b6

FROM ${NODE_IMAGE} AS build
WORKDIR /packshot
COPY package.json package-lock.json .npmrc ./
# a registry or certificates of your own: `--secret id=npmrc,src=FILE`, which no layer keeps
RUN --mount=type=secret,id=npmrc --mount=type=cache,target=/var/cache/npm \
    NPM_CONFIG_USERCONFIG=/run/secrets/npmrc NPM_CONFIG_CACHE=/var/cache/npm \
    npm ci --omit=dev --ignore-scripts --no-audit --no-fund
# ONNX Runtime comes with the libraries of every system; sources of debuggers and compilers are not run
RUN find node_modules/onnxruntime-node/bin -mindepth 3 -maxdepth 3 -type d \
      ! -path "*/linux/$(node -p process.arch)" -exec rm -rf {} + && \
    find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete && \
    npm pkg delete devDependencies && npm sbom --sbom-format cyclonedx > sbom.cdx.json

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    PACKSHOT_HOST=0.0.0.0 \
    PACKSHOT_DATA_DIR=/data \
    PACKSHOT_MODELS_DIR=/models \
    PACKSHOT_METRICS_HOST=0.0.0.0
WORKDIR /app
RUN mkdir -p /data /models /etc/packshot && chown 1000:1000 /data /models /etc/packshot
COPY --from=build /packshot/node_modules ./node_modules
COPY --from=build /packshot/sbom.cdx.json /usr/share/doc/packshot/sbom.cdx.json
COPY package.json LICENSE ./
COPY models/packshot-mini ./models/packshot-mini
COPY models/matte/packshot-matte.onnx ./models/matte/packshot-matte.onnx
COPY scripts/health.ts scripts/with-large-pages.ts ./scripts/
COPY src ./src
# last: what changes with every build
ARG NODE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="Packshot" \
      org.opencontainers.image.description="Studio photos of products from words: a self-hosted image-generation service" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${NODE_IMAGE}"
USER 1000:1000
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 CMD ["node", "scripts/health.ts"]
ENTRYPOINT ["node", "--disable-sigusr1", "src/main/role.ts"]
CMD ["all-in-one"]
