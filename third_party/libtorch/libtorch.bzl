"""@libtorch: headers and link flags of a libtorch that is already on this machine.

PENSTOCK_LIBTORCH names it: a folder that pip filled (it holds torch/), the torch folder
of a wheel, or an unpacked libtorch archive (include/ and lib/). Without it, the
folder that tools/setup.sh fills is taken.
"""

_VERSION = "2.11"
_HEADER_FOLDERS = ["ATen", "c10", "caffe2", "torch"]

def _home(ctx):
    named = ctx.os.environ.get("PENSTOCK_LIBTORCH", "")
    if named:
        return named
    cache = ctx.os.environ.get("XDG_CACHE_HOME", "") or ctx.os.environ.get("HOME", "") + "/.cache"
    return cache + "/penstock/libtorch-2.11.0-cpu"

def _root(ctx, home):
    for candidate in [home + "/torch", home]:
        if ctx.path(candidate + "/lib/libtorch_cpu.so").exists:
            return candidate
    fail(("no libtorch in %s (looked for lib/libtorch_cpu.so and torch/lib/libtorch_cpu.so): " +
          "run tools/setup.sh, or set PENSTOCK_LIBTORCH to a folder with libtorch %s") % (home, _VERSION))

def _check_version(ctx, root):
    header = ctx.path(root + "/include/torch/headeronly/version.h")
    if not header.exists:
        fail("libtorch in %s has no include/torch/headeronly/version.h: need libtorch %s" % (root, _VERSION))
    numbers = {}
    for line in ctx.read(header).split("\n"):
        words = [w for w in line.split(" ") if w]
        if len(words) == 3 and words[0] == "#define":
            numbers[words[1]] = words[2]
    found = numbers.get("TORCH_VERSION_MAJOR", "?") + "." + numbers.get("TORCH_VERSION_MINOR", "?")
    if found != _VERSION:
        fail("libtorch in %s is version %s: need %s (see PENSTOCK_LIBTORCH)" % (root, found, _VERSION))

def _rpaths(ctx, root):
    folders = [root + "/lib"]
    nvidia = ctx.path(root + "/../nvidia")
    if nvidia.exists:
        for package in sorted([str(p) for p in nvidia.readdir()]):
            if ctx.path(package + "/lib").exists:
                folders.append(package + "/lib")
    return folders

def _libtorch_repository_impl(ctx):
    root = str(ctx.path(_root(ctx, _home(ctx))))
    _check_version(ctx, root)
    for folder in _HEADER_FOLDERS:
        ctx.symlink(root + "/include/" + folder, "include/" + folder)
    ctx.template(
        "BUILD",
        ctx.attr._template,
        substitutions = {
            "%{home}": root,
            "%{lib}": root + "/lib",
            "%{rpaths}": "\n        ".join(['"-Wl,-rpath,%s",' % f for f in _rpaths(ctx, root)]),
        },
        executable = False,
    )

libtorch_repository = repository_rule(
    implementation = _libtorch_repository_impl,
    attrs = {
        "_template": attr.label(
            default = "//third_party/libtorch:libtorch.BUILD.tpl",
            allow_single_file = True,
        ),
    },
    environ = ["PENSTOCK_LIBTORCH", "XDG_CACHE_HOME", "HOME"],
    local = True,
)
