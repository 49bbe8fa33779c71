// Where the command looks for a coordinator unless it is told. Thread-safe.
#ifndef PENSTOCK_CLI_STANDARD_ADDRESS_H_
#define PENSTOCK_CLI_STANDARD_ADDRESS_H_

#include <cstdlib>
#include <string>

namespace penstock {

// PENSTOCK_ADDR, else 127.0.0.1:7400.
inline std::string StandardAddress() {
  const char* const value = std::getenv("PENSTOCK_ADDR");
  return value != nullptr && *value != '\0' ? value : "127.0.0.1:7400";
}

}  // namespace penstock

#endif  // PENSTOCK_CLI_STANDARD_ADDRESS_H_
