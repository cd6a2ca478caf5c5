# The commands of CLI Scale. `make run` and `make test` do all the set-up themselves; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test build web audit fmt clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: ## build everything (development profile) and serve a first session on this machine
	@tools/prerequisites run
	@$(MAKE) --no-print-directory web
	cargo build --workspace --bins
	target/debug/cliscale up --demo

test: ## check everything: formatting, lints, unit, property, store, whole-stack and browser tests
	@tools/prerequisites test
	@tools/test

build: ## release binaries in target/release/
	@tools/prerequisites run
	@$(MAKE) --no-print-directory web
	cargo build --release --workspace --bins

web: gateway/web/dist/index.html ## the page that the gateway embeds

gateway/web/dist/index.html: $(shell find gateway/web/src gateway/web/public -type f 2>/dev/null) \
		$(wildcard gateway/web/*.html gateway/web/*.json gateway/web/*.ts)
	cd gateway/web && npm ci --no-fund --no-audit && npm run build
	@touch $@

audit: ## licences, bans and advisories of the dependencies (needs cargo-deny and its advisory database)
	cargo deny check

fmt: ## format the Rust code
	cargo fmt --all

clean: ## remove everything that was built
	cargo clean
	rm -rf gateway/web/dist gateway/web/node_modules e2e/browser/node_modules sample-cli/node_modules
