// Numbers as they lie in files: little- and big-endian, at any address. Pure.
#ifndef PENSTOCK_COMMON_DATA_BYTE_ORDER_H_
#define PENSTOCK_COMMON_DATA_BYTE_ORDER_H_

#include <cstdint>

namespace penstock {

inline uint16_t LittleEndian16(const unsigned char* at) { return static_cast<uint16_t>(at[0] | at[1] << 8); }
inline uint32_t LittleEndian32(const unsigned char* at) {
  return LittleEndian16(at) | static_cast<uint32_t>(LittleEndian16(at + 2)) << 16;
}
inline uint64_t LittleEndian64(const unsigned char* at) {
  return LittleEndian32(at) | static_cast<uint64_t>(LittleEndian32(at + 4)) << 32;
}
inline uint32_t BigEndian32(const unsigned char* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 | static_cast<uint32_t>(at[2]) << 8 |
         at[3];
}

}  // namespace penstock

#endif  // PENSTOCK_COMMON_DATA_BYTE_ORDER_H_
