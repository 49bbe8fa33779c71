"""penstock_proto: C++ and gRPC code from .proto files, by the system's protoc."""

_OUTPUTS = [".pb.h", ".pb.cc", ".grpc.pb.h", ".grpc.pb.cc"]

def penstock_proto(name, srcs, deps = []):
    """A cc_library `name` over the code generated from srcs.

    Files import each other, and are included, by their path from the workspace
    root: import "proto/job.proto"; #include "proto/job.pb.h".

    Args:
      name: the cc_library.
      srcs: .proto files of this package.
      deps: other penstock_proto targets whose files srcs import.
    """
    stems = [src[:-len(".proto")] for src in srcs]
    native.filegroup(
        name = name + "_files",
        srcs = srcs + [dep + "_files" for dep in deps],
    )
    native.genrule(
        name = name + "_gen",
        srcs = [":" + name + "_files"],
        outs = [stem + out for stem in stems for out in _OUTPUTS],
        cmd = " ".join(
            [
                "protoc -I.",
                "--cpp_out=$(GENDIR)",
                "--grpc_out=$(GENDIR)",
                "--plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin)",
            ] + [native.package_name() + "/" + src for src in srcs],
        ),
    )
    native.cc_library(
        name = name,
        srcs = [stem + out for stem in stems for out in _OUTPUTS if out.endswith(".cc")],
        hdrs = [stem + out for stem in stems for out in _OUTPUTS if out.endswith(".h")],
        copts = ["-w"],
        visibility = ["//visibility:public"],
        deps = deps + ["//third_party:grpc"],
    )
