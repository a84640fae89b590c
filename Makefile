# `make help` lists the targets. What takes more than a line is a script in hack/.

SHELL := /usr/bin/env bash -o errexit -o nounset -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell sed -n 's/^appVersion: *//p' charts/etcd-operator/Chart.yaml)
IMAGE ?= ghcr.io/etcd-k8s-operator/etcd-operator:$(VERSION)
# Programs built from hack/ come before those of the machine.
export PATH := $(CURDIR)/build/bin:$(PATH)

GO_PACKAGES := ./api/... ./cmd/... ./internal/... ./test/...
TEST_TAGS := integration e2e bench
SHELL_SCRIPTS = $(shell find hack .ci -name '*.sh' -o -path .ci/run)

##@ Start here

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*##" } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*##/ { printf "  \033[36m%-18s\033[0m%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: ## From nothing to a running 3-member cluster on a real Kubernetes, without Docker.
	@hack/quickstart.sh

.PHONY: local-down
local-down: ## Remove the local Kubernetes, also after an unclean stop.
	@hack/local-down.sh

##@ Test

.PHONY: test
test: ## Run all tests and check the coverage.
	@hack/test.sh unit sim integration coverage e2e

.PHONY: test-unit
test-unit: ## Run the unit tests (seconds).
	@hack/test.sh unit

.PHONY: test-sim
test-sim: ## Run the simulator: every order of events, up to a bound.
	@hack/test.sh sim

.PHONY: test-integration
test-integration: ## Run the tests with a real kube-apiserver and real etcd processes.
	@hack/test.sh integration

.PHONY: test-sweeps
test-sweeps: ## Run the simulator with more states, and integration tests with every fault at every write (hours).
	@SIM_STATES=500000 SWEEP=full CRASH_SWEEP_EVERY=1 TEST_TIMEOUT=12h hack/test.sh sim integration

.PHONY: test-e2e
test-e2e: ## Run the end-to-end tests on the local cluster (PROVIDER=kind: on kind; KEEP=1: keep it).
	@hack/test.sh e2e

FUZZ_SECONDS ?= 20
.PHONY: fuzz
fuzz: ## Feed the parsers with what nobody thought of, each for FUZZ_SECONDS=20.
	@for target in pki:FuzzParseBundle pki:FuzzAccepts render:FuzzMemberOf observe:FuzzDataProblem; do \
		go test ./internal/$${target%:*} -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime $(FUZZ_SECONDS)s; \
	done

.PHONY: coverage
coverage: ## Measure the merged coverage of unit and integration tests; fails under 80 %.
	@hack/test.sh unit integration coverage

.PHONY: bench-create
bench-create: ## Time the creation of a cluster against the floor, a hand-written StatefulSet.
	@hack/with-cluster.sh go test -tags bench ./test/bench/... -run TestBenchCreate -v -count 1 -timeout 30m

.PHONY: bench-lifecycle
bench-lifecycle: ## Time every operation on a running cluster, and what clients notice of it (BENCH_ROUNDS=1).
	@ETCD_MINORS="3.5 3.6.14 3.6 3.7" hack/with-cluster.sh go test -tags bench ./test/bench/... -run TestBenchLifecycle -v -count 1 -timeout 120m

.PHONY: bench-backup
bench-backup: ## Time backups of a small cluster and of 1 GB, a restore of that, what clients notice of them, and archives (BENCH_ROUNDS=3).
	@OBJECT_STORE=1 hack/with-cluster.sh go test -tags bench ./test/bench/... -run TestBenchBackup -v -count 1 -timeout 60m
	@go test ./internal/archive -run TestWhatArchivingCostsAMember -cost -bench Replay -v -count 1

##@ Develop

.PHONY: generate
generate: ## Generate deepcopies, definitions, the chart's copies and the references.
	@hack/generate.sh

.PHONY: verify-generated
verify-generated: ## Fail if anything generated is out of date.
	@hack/generate.sh --verify

.PHONY: fmt
fmt: ## Format the Go code.
	@hack/build.sh tools/lint
	golangci-lint fmt

.PHONY: vet
vet: ## Run go vet, with each build tag.
	go vet $(GO_PACKAGES)
	@for tag in $(TEST_TAGS); do echo "go vet -tags $$tag ./test/..."; go vet -tags $$tag ./test/...; done

.PHONY: lint
lint: ## Lint the Go code, the shell scripts and the chart.
	@hack/build.sh tools/lint tools/helm
	golangci-lint run
	cd hack/local && golangci-lint run
	cd hack/cert-manager && golangci-lint run
	shellcheck --external-sources $(SHELL_SCRIPTS)
	helm lint --strict charts/etcd-operator

.PHONY: verify-chart
verify-chart: ## Install, upgrade and remove the chart on a real kube-apiserver, and check its permissions.
	@hack/verify-chart.sh

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities that the code reaches.
	@hack/build.sh tools/vuln
	govulncheck $(GO_PACKAGES)

.PHONY: sbom
sbom: ## Write the operator's bill of materials into build/sbom, and check that it is complete.
	@hack/sbom.sh

##@ Build

.PHONY: build
build: ## Build the operator into build/bin.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o build/bin/ ./cmd/...

.PHONY: image
image: ## Build the operator's image with Docker.
	docker build --tag $(IMAGE) --build-arg VERSION=$(VERSION) .

.PHONY: image-archives
image-archives: ## Build the operator's and etcd's images without Docker, into build/images.
	@hack/image-archives.sh

.PHONY: clean
clean: ## Remove build/. Expensive builds stay in the cache outside the checkout.
	rm -rf build

##@ Clusters

.PHONY: local-up
local-up: ## Start the local Kubernetes (3 nodes, root, no Docker).
	@hack/local-up.sh

.PHONY: kind-create
kind-create: ## Create a kind cluster with three workers (needs Docker and kind).
	@hack/kind/kind.sh create

.PHONY: deploy-test
deploy-test: ## On the kind cluster: build and install the operator, run the sample, write and read a key.
	@hack/kind/kind.sh deploy

.PHONY: kind-delete
kind-delete: ## Delete the kind cluster.
	@hack/kind/kind.sh delete

.PHONY: install
install: ## Install the chart into the cluster of the current kubeconfig.
	@hack/build.sh tools/helm
	helm upgrade --install etcd-operator charts/etcd-operator \
		--namespace etcd-operator-system --create-namespace --set image.tag=$(VERSION) --wait

.PHONY: uninstall
uninstall: ## Remove the chart from the cluster of the current kubeconfig; clusters and definitions stay.
	@hack/build.sh tools/helm
	helm uninstall etcd-operator --namespace etcd-operator-system --ignore-not-found --wait
