# syntax=docker/dockerfile:1

# Compiled on the machine's own platform for the one that is asked for: no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/etcd-operator ./cmd/etcd-agent

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /out/etcd-operator /out/etcd-agent /usr/local/bin/
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/etcd-operator"]
