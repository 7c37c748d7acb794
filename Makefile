# Doors to the project. They only forward to CMake presets and scripts, so
# nothing here is needed to use CMake directly.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps build demo test deb deploy-check interop soak sanitize bench \
  install format clean

BUILD := build/release
PREFIX ?= /usr/local
# Two at a time: the tests start servers and measure, and CI has two cores.
TEST_JOBS ?= 2

help: ## Print what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install the Debian packages that everything below needs
	@scripts/deps.sh

demo: deps $(BUILD)/build.ninja ## Quantize the bundled model on a real server, start to end
	@cmake --build $(BUILD) --target quantd quantctl
	@scripts/demo.sh $(BUILD)

test: build ## Run every test (what CI runs)
	@tests/interop/venv.sh build/venv
	@ctest --test-dir $(BUILD) -j $(TEST_JOBS) --output-on-failure --no-tests=error

build: deps $(BUILD)/build.ninja ## Build everything: release, with tests
	@cmake --build $(BUILD)

interop: build ## Hold artifacts against the public loaders (builds llama.cpp, downloads torch)
	@tests/interop/llama_cpp/run.sh $(BUILD)
	@tests/interop/optional/run.sh $(BUILD)

deb: deps $(BUILD)/build.ninja ## Make the Debian package
	@cmake --build $(BUILD) --target quantd quantctl manual package_documents
	@cd $(BUILD) && cpack -G DEB -B deb >deb.log || { cat deb.log; exit 1; }
	@ls $(BUILD)/deb/*.deb

deploy-check: deb ## Check the chart and manifests (builds Helm); install the package into a fresh Debian (root)
	@scripts/deps.sh debootstrap lintian strace systemd
	@tests/deploy/check.sh $(BUILD)

soak: build ## Kill loops, full disks, big models, fuzzers: three hours
	@tests/faults/soak.sh $(BUILD)

sanitize: ## Run every test under ASan and UBSan
	@tests/sanitize/run.sh asan-ubsan

bench: build ## Measure, as ratios to this machine's own limits (builds llama.cpp)
	@tests/bench/run.py $(BUILD)
	@tests/interop/llama_cpp/venv.sh build/venv-llama
	@tests/bench/gguf.py $(BUILD) build/venv-llama/bin/python
	@scripts/deps.sh python3-torch libopenblas0-pthread
	@tests/bench/gptq.py $(BUILD)
	@tests/bench/calibrated.py $(BUILD)

install: build ## Install binaries and the client library under PREFIX (/usr/local)
	@cmake --install $(BUILD) --prefix $(PREFIX)

format: ## Format the C++ sources (needs clang-format)
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

clean: ## Remove what was built
	@rm -rf build

$(BUILD)/build.ninja:
	@cmake --preset release
