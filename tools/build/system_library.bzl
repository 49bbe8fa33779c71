"""system_library: a library of the system as a Bazel target."""

def system_library(name, libs = [], deps = [], **kwargs):
    """A cc_library without files that passes -l for each of libs.

    Args:
      name: the target.
      libs: names for -l, users before what they use. Only those that a program
        really needs are kept (--as-needed), so a small command stays quick to start.
      deps: other system_library targets.
      **kwargs: for cc_library.
    """
    linkopts = []
    if libs:
        linkopts = ["-Wl,--push-state,--as-needed"] + ["-l" + lib for lib in libs] + ["-Wl,--pop-state"]
    native.cc_library(
        name = name,
        linkopts = linkopts,
        deps = deps,
        **kwargs
    )
