# Conveniences for developers; ./test is the whole test and needs no make.
export CGO_ENABLED := 0
GO       ?= go
FUZZTIME ?= 20s
SOAK     ?= 20
ATTEMPTS ?= 10000000
LIVES    ?= 1000000
DRAWS    ?= 2000
GUSTS    ?= 12000
INSTALLS ?= 100000
FLOW     ?= 1h
TOOLS    := .cache/tools

.PHONY: build test generate lint bench bench-kernel evaluate fuzz soak selftests kernel clean

build:
	$(GO) build -o bin/portcullis ./cmd/portcullis

test:
	./test

# Everything committed that a program wrote: system-call numbers, the header for
# authors of filters, the filters' objects. Needs clang-19 and llvm-19.
generate:
	$(GO) generate ./...

$(TOOLS)/staticcheck $(TOOLS)/gofumpt: tools/go.mod tools/go.sum
	cd tools && $(GO) build -o ../$(TOOLS)/ honnef.co/go/tools/cmd/staticcheck mvdan.cc/gofumpt

lint: $(TOOLS)/staticcheck $(TOOLS)/gofumpt
	@bad=$$(git ls-files '*.go' | xargs $(TOOLS)/gofumpt -l); test -z "$$bad" || { echo "gofumpt: $$bad"; exit 1; }
	$(GO) vet ./...
	$(TOOLS)/staticcheck ./...

# Against named floors first, then the functions alone.
bench:
	$(GO) run ./internal/bench
	$(GO) test -run '^$$' -bench . ./...

# What the kernel engine's filters cost, in its guest: instructions, and wall time.
bench-kernel:
	linux/build --measure
	linux/build --measure --unpatched
	$(GO) run ./internal/bench/kernel

# What phases refuse of the calls that real servers make.
evaluate:
	$(GO) run ./internal/evaluate

# Every native fuzz target in turn, FUZZTIME each.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$pkg; \
		done; \
	done

# What wins a race once in millions of attempts; what leaks a little, by many lives; what
# a kernel takes once in thousands of programs, and filters that begin and end by the
# hundred thousand; what policies, ready and recorded ones, refuse of varied loads of their
# programs, and flows of six servers in FLOW; what a kernel that checks itself has to say about
# the suites; and those that race, over and over: what fails once in a hundred runs.
soak:
	PORTCULLIS_ATTEMPTS=$(ATTEMPTS) $(GO) test -count=1 -v -run '^Test(PinnedReads|Kernel)$$' -timeout 48h ./internal/attack
	PORTCULLIS_LIVES=$(LIVES) $(GO) test -count=1 -v -run TestShortLives -timeout 4h ./internal/conformance
	PORTCULLIS_DRAWS=$(DRAWS) $(GO) test -count=1 -v -run TestSoakFuzz -timeout 5h ./internal/engine/kernel
	PORTCULLIS_GUSTS=$(GUSTS) $(GO) test -count=1 -v -run TestSoakStorms -timeout 25h ./internal/engine/kernel
	PORTCULLIS_INSTALLS=$(INSTALLS) $(GO) test -count=1 -v -run TestSoakInstalls -timeout 25h ./internal/engine/kernel
	PORTCULLIS_LONG=1 $(GO) test -count=1 -v -run '^Test(Policies|Refused|Recorded|AsNobody|Kernel)$$' -timeout 16h ./internal/load
	PORTCULLIS_FLOW=$(FLOW) $(GO) test -count=1 -v -run '^TestFlow$$' -parallel 6 -timeout 25h ./internal/load
	linux/build --debug
	PORTCULLIS_WIDE=1 PORTCULLIS_GUEST_DEBUG=1 $(GO) test -count=1 -v -p 1 -run '^Test(Patch|NoAttach|Storms|Kernel)$$' -timeout 24h ./internal/engine/kernel ./internal/conformance ./internal/attack ./filters
	PORTCULLIS_LONG=1 $(GO) test -count=$(SOAK) -p 1 -failfast -timeout 24h ./filters ./internal/attack ./internal/conformance ./internal/engine/...

# The kernel's own tests of seccomp and of BPF, in the guest.
selftests:
	PORTCULLIS_SELFTESTS=1 $(GO) test -count=1 -v -run TestSelftests -timeout 3h ./internal/engine/kernel

kernel:
	linux/build

clean:
	rm -rf bin .cache
