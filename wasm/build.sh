#!/bin/sh
# Builds the WebAssembly modules from their Rust sources and puts them into src/wasm, packed. Needed only by who
# changes them: a Rust compiler with the standard library for wasm32-unknown-unknown, such as Debian's rustc with
# libstd-rust-dev-wasm32, cargo, and wasm-ld (lld). The same compiler gives the same bytes: `--check` compares.
#
#     RUSTC=rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld wasm/build.sh [--check]
set -eu
cd "$(dirname "$0")"
target="${CARGO_TARGET_DIR:-$PWD/target}"
# Paths of this machine would be in messages, and so in the bytes.
home="${CARGO_HOME:-$HOME/.cargo}"
export CARGO_TARGET_DIR="$target" CARGO_ENCODED_RUSTFLAGS=
flags="-Ctarget-feature=+simd128 -Clink-arg=--allow-undefined -Clink-arg=-zstack-size=4194304"
flags="$flags --cfg=getrandom_backend=\"custom\" --remap-path-prefix=$home=cargo --remap-path-prefix=$PWD=wasm"
CARGO_ENCODED_RUSTFLAGS=$(printf '%s' "$flags" | tr ' ' '\037')
cargo build --release --locked --target wasm32-unknown-unknown
for module in grammar sampling; do
  packed=$(mktemp)
  gzip -9nc "$target/wasm32-unknown-unknown/release/$module.wasm" > "$packed"
  if [ "${1:-}" = --check ]; then
    cmp "$packed" "../src/wasm/$module.wasm.gz" && rm "$packed"
  else
    mv "$packed" "../src/wasm/$module.wasm.gz" && chmod 644 "../src/wasm/$module.wasm.gz"
  fi
done
