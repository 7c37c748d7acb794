// GGUF files for tests, field by field.
#ifndef QUANT_TESTS_CORE_CONTAINER_GGUF_FILES_H_
#define QUANT_TESTS_CORE_CONTAINER_GGUF_FILES_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "core/container/gguf.h"
#include "tests/core/base/temp_dir.h"

namespace quant {

// Appends little-endian fields; text with its length before it.
class GgufBytes {
 public:
  GgufBytes() = default;
  // Magic, version 3 and the counts.
  GgufBytes(uint64_t tensors, uint64_t keys) {
    Raw("GGUF").U32(3).U64(tensors).U64(keys);
  }

  GgufBytes& Raw(absl::string_view bytes) {
    bytes_.append(bytes.data(), bytes.size());
    return *this;
  }
  GgufBytes& U8(uint8_t value) { return Number(value, 1); }
  GgufBytes& U16(uint16_t value) { return Number(value, 2); }
  GgufBytes& U32(uint32_t value) { return Number(value, 4); }
  GgufBytes& U64(uint64_t value) { return Number(value, 8); }
  GgufBytes& F32(float value) {
    return Raw({reinterpret_cast<const char*>(&value), sizeof(value)});
  }
  GgufBytes& Text(absl::string_view text) { return U64(text.size()).Raw(text); }
  // A key and the id of its value's type; the value is to follow.
  GgufBytes& Key(absl::string_view key, uint32_t type) {
    return Text(key).U32(type);
  }
  GgufBytes& Tensor(absl::string_view name, const std::vector<uint64_t>& dims,
                    uint32_t type, uint64_t offset) {
    Text(name).U32(static_cast<uint32_t>(dims.size()));
    for (uint64_t dim : dims) U64(dim);
    return U32(type).U64(offset);
  }
  // Zeros up to a multiple of `alignment`.
  GgufBytes& Pad(size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  GgufBytes& Zeros(size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  operator std::string() const { return bytes_; }

 private:
  GgufBytes& Number(uint64_t value, int size) {
    for (int i = 0; i < size; ++i) {
      bytes_ += static_cast<char>(value >> (8 * i) & 0xFF);
    }
    return *this;
  }

  std::string bytes_;
};

// Writes a file whose tensors have the bytes 0, 1, 2..., each its own run.
inline std::string WriteGguf(const TempDir& dir, absl::string_view name,
                             absl::Span<const GgufKv> kvs,
                             std::vector<GgufTensor> tensors) {
  const auto layout = LayOutGguf(kvs, std::move(tensors));
  EXPECT_TRUE(layout.ok()) << layout.status();
  std::string bytes = layout->header;
  bytes.resize(layout->file_size);
  for (const GgufTensor& tensor : layout->tensors) {
    for (int64_t at = tensor.begin; at < tensor.end; ++at) {
      bytes[at] = static_cast<char>(at - tensor.begin);
    }
  }
  return dir.Write(name, bytes);
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_CONTAINER_GGUF_FILES_H_
