// Arguments that several commands share. Pure but for the environment variable.
#ifndef PENSTOCK_CLI_ARGUMENTS_H_
#define PENSTOCK_CLI_ARGUMENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace penstock {

// Declares --addr. *address becomes: the option, else PENSTOCK_ADDR, else 127.0.0.1:7400.
void AddAddress(CLI::App* command, std::string* address);

// Declares the positional argument `name`, which may not be empty: in a script that is a variable that was never set.
CLI::Option* AddTarget(CLI::App* command, const std::string& name, const std::string& help, std::string* target);

// AddTarget of JOB.
CLI::Option* AddJob(CLI::App* command, std::string* job);

// Declares -o, one of `formats`; *format is the first of them unless it is given.
void AddFormat(CLI::App* command, const std::vector<std::string>& formats, std::string* format);

// Declares --devices cpu,cuda:0, each checked for its form.
void AddDevices(CLI::App* command, const std::string& help, std::vector<std::string>* devices);

// Declares --set key=value, which may stand several times.
void AddOverrides(CLI::App* command, std::vector<std::string>* overrides);

// "78GiB", "512MiB", "1000000": bytes. Errors: InvalidArgument: not that.
absl::StatusOr<uint64_t> ParseBytes(const std::string& text);

}  // namespace penstock

#endif  // PENSTOCK_CLI_ARGUMENTS_H_
