// Reads a little-endian file from its beginning to wherever its own counts
// lead, without ever trusting them: a piece of known size is checked against
// what is left before memory is taken for it.
#ifndef QUANT_CORE_CONTAINER_BYTE_CURSOR_H_
#define QUANT_CORE_CONTAINER_BYTE_CURSOR_H_

#include <bit>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {

static_assert(std::endian::native == std::endian::little,
              "values are copied from and to files as they lie in memory");

class ByteCursor {
 public:
  // `file` outlives the cursor. Bytes at and beyond `end` are not there.
  ByteCursor(const File& file, int64_t end) : file_(file), end_(end) {}

  int64_t position() const { return position_; }
  int64_t remaining() const { return end_ - position_; }
  // XXH3-128 of the bytes read so far, hex.
  std::string digest() const { return digest_.Hex(); }

  // The next bytes. DATA_LOSS MODEL_MALFORMED, with the position, when fewer
  // are left.
  absl::Status Read(absl::Span<uint8_t> out);
  absl::StatusOr<std::string> String(int64_t count);
  template <typename T>
  absl::StatusOr<T> Scalar();
  template <typename T>
  absl::StatusOr<std::vector<T>> Array(int64_t count);

 private:
  // That `count` elements of `element_bytes` are left.
  absl::Status CheckLeft(int64_t count, int64_t element_bytes) const;
  absl::Status Refill();

  const File& file_;
  int64_t end_;
  int64_t position_ = 0;
  std::vector<uint8_t> buffer_;  // its bytes from next_ on come next
  size_t next_ = 0;
  Xxh3Stream digest_;
};

template <typename T>
absl::StatusOr<T> ByteCursor::Scalar() {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
  T value = 0;
  QUANT_RETURN_IF_ERROR(
      Read(absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof(T))));
  return value;
}

template <typename T>
absl::StatusOr<std::vector<T>> ByteCursor::Array(int64_t count) {
  static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
  QUANT_RETURN_IF_ERROR(CheckLeft(count, sizeof(T)));
  std::vector<T> values(count);
  QUANT_RETURN_IF_ERROR(Read(absl::MakeSpan(
      reinterpret_cast<uint8_t*>(values.data()), count * sizeof(T))));
  return values;
}

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_BYTE_CURSOR_H_
