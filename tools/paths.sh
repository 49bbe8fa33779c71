# Where Penstock keeps things. Sourced by ./penstock, tools/setup.sh and tests/run,
# which set `root` to the checkout first.
# shellcheck shell=bash disable=SC2034,SC2154

if [[ -z ${HOME:-} ]]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  export HOME
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock
setup_stamp=$root/.setup.stamp
build_stamp=$root/.build.stamp
build_log=$root/.build.log
libtorch_cpu=$cache/libtorch-2.11.0-cpu
libtorch_cuda=$cache/libtorch-2.11.0-cuda

# Prints the libtorch that a build takes: the one named by PENSTOCK_LIBTORCH, else the
# one with CUDA if it was installed here, else the one without.
libtorch_home() {
  if [[ -n ${PENSTOCK_LIBTORCH:-} ]]; then
    realpath -m "$PENSTOCK_LIBTORCH"
  elif [[ -d $libtorch_cuda ]]; then
    printf '%s\n' "$libtorch_cuda"
  else
    printf '%s\n' "$libtorch_cpu"
  fi
}
