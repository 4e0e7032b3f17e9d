# Weir: `make demo` shows the platform, `make test` proves it. Both work on a fresh Debian machine that has Go and make.

SHELL       := /bin/bash -o pipefail
GO          ?= go
TOOLS       := bin/tools
STATICCHECK := $(TOOLS)/staticcheck
REGAL       := $(TOOLS)/regal
TIMEOUT     ?= 20m
FUZZTIME    ?= 30s
MINUTES     ?= 10
SEED        ?= 1
BENCH       ?= .
REVISION    ?= $(shell git describe --always --dirty 2>/dev/null)
STAMP       := -X weir/sandbox/wire.revision=$(REVISION)

.DEFAULT_GOAL := help
.PHONY: help build demo test race lint setup setup-build setup-test tools bench storm fuzz hunt docs generate clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

# weir holds keys and people's requests and no engine; weir-worker holds the engine and nothing else. The worker is
# static so that the root it is confined to needs no file of the system's. The linker warns of functions that look
# things up at run time (dlopen, getaddrinfo); the worker calls none of them, so its words are only shown on failure.
# Both are stamped with the revision, so that programs of two builds refuse each other.
build: setup-build ## build bin/weir and bin/weir-worker
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(STAMP)' -o bin/weir ./cmd/weir
	CGO_ENABLED=1 $(GO) build -trimpath -tags netgo,osusergo -ldflags '$(STAMP) -s -w -linkmode external -extldflags -static' \
		-o bin/weir-worker ./cmd/weir-worker 2>bin/worker.log || { cat bin/worker.log; exit 1; }

demo: build ## walk one scenario through, then keep serving (ONCE=1 ends after the walk)
	bin/weir demo $(if $(filter 1 yes true,$(ONCE)),--once)

test: setup build lint race ## set up what the tests need, then every check and every test

# -count=1: some tests look at what the Go tool does not know that they read, as the floor plan's at every package, and a
# pass that is kept would hide that they fail.
race:
	$(GO) test -race -count=1 -timeout $(TIMEOUT) ./...

lint: tools ## formatting, vet, staticcheck, regal
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(if $(wildcard tools/regal/go.mod),$(REGAL) lint --config-file policy/.regal/config.yaml policy)

# Each linter is a module of its own, so that its dependencies never mix with the platform's.
tools: $(STATICCHECK) $(if $(wildcard tools/regal/go.mod),$(REGAL))

$(STATICCHECK): tools/staticcheck/go.mod
	$(GO) -C tools/staticcheck build -o $(CURDIR)/$@ honnef.co/go/tools/cmd/staticcheck

$(REGAL): tools/regal/go.mod
	$(GO) -C tools/regal build -o $(CURDIR)/$@ github.com/open-policy-agent/regal

setup: setup-build setup-test tools ## install what building and testing need; quick when nothing is missing

setup-build:
	@tools/setup compiler

setup-test:
	@tools/setup compiler postgres

bench: build ## print each figure beside its peer from the same run
	$(GO) test -run '^$$' -bench '$(BENCH)' -timeout 60m ./...

storm: build ## kill the platform and its processes 200 times under load, and one of two nodes 100 times, and look at what is left
	$(GO) test ./cmd/weir -run '^TestStorm' -v -timeout 60m -args -storm 200

hunt: build ## look for leaks for MINUTES, from SEED on
	WEIR_WORKER=$(CURDIR)/bin/weir-worker $(GO) test ./export/hunt -run 'TestHunt$$' -v -timeout 0 -args -minutes $(MINUTES) -seed $(SEED)
	WEIR_WORKER=$(CURDIR)/bin/weir-worker $(GO) test ./export -run 'TestDifferential$$' -timeout 0 -args -questions $$((30 * $(MINUTES)))

fuzz: ## run every fuzz target for FUZZTIME
	@grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$dir/*_test.go); do \
			$(GO) test $$dir -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

docs: ## write the pages that are generated from the code
	@mkdir -p docs/errors && rm -f docs/errors/*.md
	$(GO) run ./cmd/weir docs errors --to docs/errors

generate: ## make server and client from gateway/api/openapi.yaml
	$(GO) generate ./gateway/api/...

clean: ## remove what was built
	rm -rf bin
