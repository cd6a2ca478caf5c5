# The commands of CLI Scale. `make run` and `make test` do all the set-up themselves; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# What is run; the workspace has test beds and benches besides.
PROGRAMS := --package cli --package controller --package gateway --package runner --bins
.PHONY: help run test build dist web bench bench-smoke cluster cluster-down audit fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: ## build the programs (development profile) and serve a first session on this machine
	@tools/prerequisites run
	@$(MAKE) --no-print-directory web
	cargo build $(PROGRAMS)
	target/debug/cliscale up --demo

test: ## check everything: formatting, lints, unit, property, store, whole-stack, cluster and browser tests
	@tools/prerequisites test
	@tools/test

build: ## release binaries in target/release/
	@tools/prerequisites run
	@$(MAKE) --no-print-directory web
	cargo build --release $(PROGRAMS)

dist: ## a release in dist/: programs, chart, all-in-one image where docker, podman or buildah is, checksums
	@tools/prerequisites run
	@tools/dist

bench: ## measure speed and memory beside the peers, and write bench/RESULTS.md (Linux; 20 minutes)
	@tools/prerequisites test
	@$(MAKE) --no-print-directory web
	cargo build --release --workspace --bins
	@bench/install-peers
	@$${CARGO_TARGET_DIR:-target}/release/bench-results

bench-smoke: ## prove that every measurement runs
	@$(MAKE) --no-print-directory web
	cargo build --profile ci --workspace --all-targets
	@bench/install-peers
	@$${CARGO_TARGET_DIR:-target}/ci/bench-results --smoke

web: gateway/web/dist/index.html ## the page that the gateway embeds

gateway/web/dist/index.html: $(shell find gateway/web/src gateway/web/public gateway/web/element/src -type f 2>/dev/null) \
		$(wildcard gateway/web/*.html gateway/web/*.json gateway/web/*.ts gateway/web/*.js gateway/web/element/*.*)
	cd gateway/web && npm ci --no-fund --no-audit && npm run build
	@touch $@

cluster: ## a real Kubernetes on this machine, with the runner's image, for the tests that need one (Linux, root)
	@tools/prerequisites test
	cargo build --profile ci --workspace --all-targets
	@e2e/cluster/cluster up >/dev/null
	@e2e/cluster/images $${CARGO_TARGET_DIR:-target}/ci >/dev/null
	@echo "export CLISCALE_E2E_KUBECONFIG=/var/tmp/cliscale-cluster/admin.kubeconfig"

cluster-down: ## end it and leave nothing
	@e2e/cluster/cluster down

audit: ## licences, bans and advisories of the dependencies (needs cargo-deny and its advisory database)
	cargo deny check

fmt: ## format the Rust code
	cargo fmt --all

clean: ## remove everything that was built
	cargo clean
	rm -rf bench/peers/node_modules bench/peers/terminals/node_modules bench/peers/page/node_modules gateway/web/dist gateway/web/element/dist gateway/web/node_modules e2e/browser/node_modules sample-cli/node_modules screen/tests/xterm/node_modules
