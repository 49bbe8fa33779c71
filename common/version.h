// Penstock's version. Workers and coordinator must be of the same one.
#ifndef PENSTOCK_COMMON_VERSION_H_
#define PENSTOCK_COMMON_VERSION_H_

namespace penstock {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace penstock

#endif  // PENSTOCK_COMMON_VERSION_H_
