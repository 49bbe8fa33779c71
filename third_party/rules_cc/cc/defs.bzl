"""What Bazel 4.2.3 itself loads from rules_cc: its native rules, by name."""

cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_proto_library = native.cc_proto_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
fdo_prefetch_hints = native.fdo_prefetch_hints
fdo_profile = native.fdo_profile

# Bazel's own C++ package calls these two at load time; no build here needs what
# they would define.
def cc_flags_supplier(**_kwargs):
    pass

def compiler_flag(**_kwargs):
    pass
