// Writers of small data files, written from the formats' descriptions and not from the code under test.
#ifndef PENSTOCK_TESTS_COMMON_DATA_DATA_FILES_H_
#define PENSTOCK_TESTS_COMMON_DATA_DATA_FILES_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/common/scratch_dir.h"

namespace penstock {

// `bytes` bytes of a number, the lowest first.
inline std::string Little(uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(number >> (8 * i)));
  return text;
}

// Four bytes of a number, the highest first.
inline std::string Big(uint32_t number) {
  std::string text = Little(number, 4);
  return {text.rbegin(), text.rend()};
}

inline std::string Tokens16(const std::vector<int64_t>& tokens) {
  std::string text;
  for (const int64_t token : tokens) text += Little(static_cast<uint64_t>(token), 2);
  return text;
}

inline std::string Tokens32(const std::vector<int64_t>& tokens) {
  std::string text;
  for (const int64_t token : tokens) text += Little(static_cast<uint64_t>(token), 4);
  return text;
}

// llm.c's header.
inline std::string TokenHeader(uint32_t mark, uint32_t version, uint32_t count) {
  std::string header = Little(mark, 4) + Little(version, 4) + Little(count, 4);
  header.resize(1024, '\0');
  return header;
}

// The index of a Megatron dataset; the bytes of sequence i begin where those of i - 1 end.
struct MegatronIndex {
  std::string mark = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t type = 8;  // uint16
  std::vector<int64_t> lengths = {3, 0, 4};
  std::vector<int64_t> begins = {0, 6, 6};
  std::vector<int64_t> documents = {0, 2, 3};
  uint64_t sequences = 3, document_entries = 3;  // as the header states them

  std::string Text() const {
    std::string text =
        mark + Little(version, 8) + static_cast<char>(type) + Little(sequences, 8) + Little(document_entries, 8);
    for (const int64_t length : lengths) text += Little(static_cast<uint64_t>(length), 4);
    for (const int64_t begin : begins) text += Little(static_cast<uint64_t>(begin), 8);
    for (const int64_t document : documents) text += Little(static_cast<uint64_t>(document), 8);
    return text;
  }
};

// MNIST's images [count, height, width] and labels.
inline std::string IdxImages(uint32_t count, uint32_t height, uint32_t width, const std::string& pixels) {
  return std::string("\0\0\x08\x03", 4) + Big(count) + Big(height) + Big(width) + pixels;
}
inline std::string IdxLabels(const std::string& labels) {
  return std::string("\0\0\x08\x01", 4) + Big(static_cast<uint32_t>(labels.size())) + labels;
}

// A record of CIFAR-10: pixel i of the image is (i * 7 + seed) mod 256.
inline std::string CifarRecord(int label, int seed) {
  std::string record(1, static_cast<char>(label));
  for (int i = 0; i < 3072; ++i) record.push_back(static_cast<char>(i * 7 + seed));
  return record;
}

// A safetensors file of arrays, back to back.
struct Array {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
inline std::string Safetensors(const std::vector<Array>& arrays) {
  std::string header = "{", data;
  for (const Array& array : arrays) {
    std::string shape;
    for (const int64_t size : array.shape) shape += (shape.empty() ? "" : ",") + std::to_string(size);
    header += (header.size() > 1 ? ",\"" : "\"") + array.name + "\":{\"dtype\":\"" + array.dtype + "\",\"shape\":[" +
              shape + "],\"data_offsets\":[" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + array.bytes.size()) + "]}";
    data += array.bytes;
  }
  header += "}";
  return Little(header.size(), 8) + header + data;
}

inline std::string Floats(const std::vector<float>& values) {
  std::string text(values.size() * sizeof(float), '\0');
  std::memcpy(text.data(), values.data(), text.size());
  return text;
}

}  // namespace penstock

#endif  // PENSTOCK_TESTS_COMMON_DATA_DATA_FILES_H_
