# Written by //third_party/libtorch:libtorch.bzl for the libtorch in %{home}.
package(default_visibility = ["//visibility:public"])

# Only these four header folders: the wheel also ships protobuf 3.13, fmt and others,
# which must not shadow the system's.
cc_library(
    name = "libtorch",
    hdrs = glob([
        "include/ATen/**",
        "include/c10/**",
        "include/caffe2/**",
        "include/torch/**",
    ]),
    includes = [
        "include",
        "include/torch/csrc/api/include",
    ],
    # The libraries stay where they are; CUDA's is opened at run time, by name, when
    # a device says cuda, so nothing of it is linked and its absence is no error.
    linkopts = [
        "-L%{lib}",
        "-Wl,--allow-shlib-undefined",
        "-ltorch_cpu",
        "-lc10",
        %{rpaths}
    ],
)
