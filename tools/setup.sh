#!/usr/bin/env bash
# Prepares this machine and this checkout: Debian packages, libtorch, training data,
# Bazel's local settings. Does only what is missing, says so before it does it, and
# needs no network when nothing is missing.
#
#   tools/setup.sh           what a CPU host needs
#   tools/setup.sh --gpu     with the CUDA libraries that libtorch opens on a GPU host
#   tools/setup.sh --check   installs nothing; says what is missing, exit 2 if anything is
#
#   PENSTOCK_LIBTORCH=DIR    takes the libtorch 2.11 in DIR (what pip installed there, or an
#                            unpacked libtorch archive) instead of installing one
#   XDG_CACHE_HOME           libtorch and Bazel's disk cache go to its penstock/ (~/.cache)
#
# Exit: 0 ready; 1 a step failed; 2 something is missing that only the user can install.
set -euo pipefail

self=${BASH_SOURCE[0]}
root=$(cd "$(dirname "$(readlink -f "$self")")/.." && pwd)
# shellcheck source=tools/paths.sh
source "$root/tools/paths.sh"

# Versions. torch 2.11.0 is built with CUDA 13.0; its CPU library names these two of
# NVIDIA's libraries as needed, so even a CPU host has them.
readonly torch_version=2.11.0
readonly torch_cpu_wheels=(
  "torch==$torch_version" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
)
readonly torch_gpu_wheels=("torch==$torch_version")
readonly digits_wheel=scikit-learn==1.7.2

# Debian 12's versions are what the build is tested with (docs/architecture.md).
readonly debian_release=12
readonly packages=(
  # the build
  bazel-bootstrap bazel-skylib bazel-platforms bazel-rules-proto bazel-rules-java g++
  protobuf-compiler protobuf-compiler-grpc
  # libraries
  libabsl-dev libcli11-dev libcpp-httplib-dev libgoogle-glog-dev libgrpc++-dev
  libpcre2-dev libprotobuf-dev libsqlite3-dev libsqlitecpp-dev libssl-dev libxxhash-dev libyaml-cpp-dev
  nlohmann-json3-dev prometheus-cpp-dev
  # tests and benchmarks
  clang-14 libbenchmark-dev libgmock-dev libgtest-dev
  # libtorch and data
  bible-kjv ca-certificates python3 python3-pip
)

check_only=false
with_gpu=false

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# The stamp holds what a finished set-up depended on: this script and the choice of libtorch.
stamp_text() {
  sha256sum <"$root/tools/setup.sh"
  libtorch_home
}

is_current() {
  [[ -f $setup_stamp && $(<"$setup_stamp") == "$(stamp_text)" ]] || return 1
  [[ -f $root/user.bazelrc && -f $root/data/kjv.txt && -f $root/data/digits.csv ]] || return 1
  [[ -f $root/data/images.safetensors ]] || return 1
  [[ -d $(libtorch_home) ]] && command -v bazel protoc g++ >/dev/null
}

missing_packages() {
  local installed package
  installed=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' 2>/dev/null || true)
  for package in "${packages[@]}"; do
    grep -qxF "$package installed" <<<"$installed" || printf '%s\n' "$package"
  done
}

is_debian() {
  [[ -r /etc/os-release ]] || return 1
  # shellcheck source=/dev/null
  (source /etc/os-release && [[ ${ID:-} == debian && ${VERSION_ID:-} == "$debian_release" ]])
}

# Prints the prefix of a command that installs packages; fails where there is no way.
as_root() {
  if [[ $(id -u) == 0 ]]; then
    return 0
  fi
  command -v sudo >/dev/null || return 1
  # Without a terminal, sudo must not ask for a password.
  if [[ -t 0 ]] || sudo -n true 2>/dev/null; then
    echo sudo
  else
    return 1
  fi
}

explain_packages() {
  say "these packages are missing, and this script can't install them here ($1):"
  printf '  %s\n' "${@:2}" >&2
  say "on Debian $debian_release, as root:"
  say "  apt-get update && apt-get install --no-install-recommends ${*:2}"
  say "on another system, a container of Debian $debian_release is the short way."
  exit 2
}

install_packages() {
  local missing prefix
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]})) || return 0
  is_debian || explain_packages "it is not Debian $debian_release" "${missing[@]}"
  prefix=$(as_root) || explain_packages "not root, and no sudo" "${missing[@]}"
  if $check_only; then
    explain_packages "--check" "${missing[@]}"
  fi
  say "installing ${#missing[@]} Debian packages (about 1 GB on disk with what they need, a few minutes):"
  say "  ${missing[*]}"
  local log
  log=$(mktemp)
  if ! $prefix apt-get update >"$log" 2>&1; then
    say "apt-get update did not succeed; trying with the lists at hand"
  fi
  if ! $prefix env DEBIAN_FRONTEND=noninteractive apt-get install --yes \
    --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "apt-get install failed (the whole output: $log)"
  fi
  rm -f "$log"
}

# pip_quietly ARGUMENT...: pip's output is shown only when it fails.
pip_quietly() {
  local log
  log=$(mktemp)
  if ! PIP_ROOT_USER_ACTION=ignore python3 -m pip --disable-pip-version-check "$@" \
    >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# install_libtorch DIR SIZE PIP_ARGUMENT...: by way of a folder beside it, so that DIR is whole or absent.
install_libtorch() {
  local target=$1 size=$2
  shift 2
  [[ -d $target ]] && return 0
  if $check_only; then
    say "missing: libtorch $torch_version in $target"
    exit 2
  fi
  say "installing libtorch $torch_version ($size) with pip into $target"
  mkdir -p "$cache"
  rm -rf "$target.partial"
  pip_quietly install --target "$target.partial" "$@" || fail "pip could not install: $*"
  mv "$target.partial" "$target"
}

prepare_libtorch() {
  if [[ -n ${PENSTOCK_LIBTORCH:-} ]]; then
    [[ -f $PENSTOCK_LIBTORCH/lib/libtorch_cpu.so || -f $PENSTOCK_LIBTORCH/torch/lib/libtorch_cpu.so ]] ||
      fail "PENSTOCK_LIBTORCH=$PENSTOCK_LIBTORCH holds no lib/libtorch_cpu.so"
  elif $with_gpu; then
    install_libtorch "$libtorch_cuda" "4.6 GB, some minutes" "${torch_gpu_wheels[@]}"
  elif [[ ! -d $libtorch_cuda ]]; then
    install_libtorch "$libtorch_cpu" "1.2 GB, about a minute" --no-deps "${torch_cpu_wheels[@]}"
    if [[ -e /proc/driver/nvidia/version ]]; then
      say "this machine has an NVIDIA GPU: tools/setup.sh --gpu also brings the libraries to use it"
    fi
  fi
}

# The King James Bible, one verse a line, an empty line between chapters: 4.2 MB of plain text
# for a model of bytes.
make_kjv() {
  say "writing data/kjv.txt (the King James Bible, from Debian's bible-kjv)"
  bible -f 'gen1:1-rev22:21' | awk '{
    chapter = $1; sub(/:.*/, "", chapter)
    if (NR > 1 && chapter != last) print ""
    last = chapter; sub(/^[^ ]+ /, ""); print
  }' >"$root/data/kjv.txt.partial"
  mv "$root/data/kjv.txt.partial" "$root/data/kjv.txt"
}

# 1797 images of handwritten digits, 8 x 8 pixels of 0 ... 16, and what they show (UCI, as
# scikit-learn ships them).
make_digits() {
  local folder
  say "writing data/digits.csv (UCI digits, from the scikit-learn wheel, 10 MB to fetch)"
  folder=$(mktemp -d)
  pip_quietly download --no-deps --only-binary=:all: --dest "$folder" "$digits_wheel" ||
    fail "pip could not download $digits_wheel"
  python3 - "$folder" >"$root/data/digits.csv.partial" <<'PYTHON'
import glob, gzip, sys, zipfile

wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
rows = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode()
print(",".join([f"p{i}" for i in range(64)] + ["label"]))
print(rows.strip())
PYTHON
  rm -rf "$folder"
  mv "$root/data/digits.csv.partial" "$root/data/digits.csv"
}

# 64 made-up images of 3 x 224 x 224 in eight classes, stripes of eight widths under noise: enough
# for the networks of configs/ to run.
make_images() {
  say "writing data/images.safetensors (made-up images for the image networks)"
  python3 - >"$root/data/images.safetensors.partial" <<'PYTHON'
import json, random, struct, sys

SAMPLES, CLASSES, SIDE = 64, 8, 224
noise = random.Random(1)
pixels = 3 * SIDE * SIDE
header = json.dumps({
    "inputs": {"dtype": "U8", "shape": [SAMPLES, 3, SIDE, SIDE], "data_offsets": [0, SAMPLES * pixels]},
    "targets": {"dtype": "I64", "shape": [SAMPLES],
                "data_offsets": [SAMPLES * pixels, SAMPLES * (pixels + 8)]}}).encode()
header += b" " * (-len(header) % 8)
out = sys.stdout.buffer
out.write(struct.pack("<Q", len(header)) + header)
small = int("3f" * pixels, 16)
for sample in range(SAMPLES):
    width = 2 + 3 * (sample % CLASSES)
    row = ((b"\x40" * width + b"\xc0" * width) * SIDE)[:SIDE]
    image = int.from_bytes(row * (3 * SIDE), "little") ^ (noise.getrandbits(8 * pixels) & small)
    out.write(image.to_bytes(pixels, "little"))
for sample in range(SAMPLES):
    out.write(struct.pack("<q", sample % CLASSES))
PYTHON
  mv "$root/data/images.safetensors.partial" "$root/data/images.safetensors"
}

prepare_data() {
  if $check_only; then
    return 0
  fi
  mkdir -p "$root/data"
  [[ -f $root/data/kjv.txt ]] || make_kjv
  [[ -f $root/data/digits.csv ]] || make_digits
  [[ -f $root/data/images.safetensors ]] || make_images
}

# The disk cache is outside the checkout, so that a fresh clone compiles nothing twice.
write_bazel_settings() {
  local text
  text="# Written by tools/setup.sh.
build --disk_cache=$cache/bazel-disk-cache
build --repo_env=PENSTOCK_LIBTORCH=$(libtorch_home)"
  if [[ ! -f $root/user.bazelrc || $(<"$root/user.bazelrc") != "$text" ]]; then
    printf '%s\n' "$text" >"$root/user.bazelrc"
  fi
}

read_arguments() {
  local argument
  for argument in "$@"; do
    case $argument in
      --gpu) with_gpu=true ;;
      --check) check_only=true ;;
      --help | -h)
        sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$root/tools/setup.sh"
        exit 0
        ;;
      *)
        say "unknown argument: $argument (see --help)"
        exit 2
        ;;
    esac
  done
}

main() {
  read_arguments "$@"
  if is_current && { ! $with_gpu || [[ -d $libtorch_cuda ]]; }; then
    return 0
  fi
  # Two set-ups at a time would install twice.
  mkdir -p "$cache"
  exec 9>"$cache/setup.lock"
  flock 9
  install_packages
  prepare_libtorch
  prepare_data
  if $check_only; then
    say "nothing is missing"
    return 0
  fi
  write_bazel_settings
  stamp_text >"$setup_stamp"
  say "ready"
}

main "$@"
