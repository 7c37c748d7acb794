// The typed key-value pairs at the head of a GGUF file.
#ifndef QUANT_CORE_CONTAINER_GGUF_VALUE_H_
#define QUANT_CORE_CONTAINER_GGUF_VALUE_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/status_macros.h"

namespace quant {

// Values are the ids in files, and the indexes of both variants below.
enum class GgufType : int32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

// Elements of one type. Arrays of arrays are read by nobody, ourselves
// included: monostate keeps their place.
using GgufArray = std::variant<
    std::vector<uint8_t>, std::vector<int8_t>, std::vector<uint16_t>,
    std::vector<int16_t>, std::vector<uint32_t>, std::vector<int32_t>,
    std::vector<float>, std::vector<bool>, std::vector<std::string>,
    std::monostate, std::vector<uint64_t>, std::vector<int64_t>,
    std::vector<double>>;

using GgufValue =
    std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float,
                 bool, std::string, GgufArray, uint64_t, int64_t, double>;

struct GgufKv {
  std::string key;
  GgufValue value;

  bool operator==(const GgufKv&) const = default;
};

inline GgufType TypeOf(const GgufValue& value) {
  return static_cast<GgufType>(value.index());
}

// "u32", "string"...: for messages. `id` may be any number.
std::string GgufTypeName(int64_t id);
// "u32", "array of string"...
std::string GgufTypeName(const GgufValue& value);

// The value of `key`; null when there is none.
const GgufValue* FindGgufValue(absl::Span<const GgufKv> kvs,
                               absl::string_view key);

// DATA_LOSS MODEL_MALFORMED: the key is not there, or its value has another
// type than `wanted`.
absl::Status WrongGgufValue(absl::Span<const GgufKv> kvs, absl::string_view key,
                            const GgufValue& wanted);

// The value of `key`, which must have exactly the type T: loaders take no i32
// for a u32. Null when the key is not there. Points into `kvs`.
template <typename T>
absl::StatusOr<const T*> FindGguf(absl::Span<const GgufKv> kvs,
                                  absl::string_view key) {
  const GgufValue* value = FindGgufValue(kvs, key);
  const T* typed = value == nullptr ? nullptr : std::get_if<T>(value);
  if (value != nullptr && typed == nullptr) {
    return WrongGgufValue(kvs, key, T());
  }
  return typed;
}

// The same for an array of T.
template <typename T>
absl::StatusOr<const std::vector<T>*> FindGgufArray(
    absl::Span<const GgufKv> kvs, absl::string_view key) {
  const GgufValue* value = FindGgufValue(kvs, key);
  const GgufArray* array =
      value == nullptr ? nullptr : std::get_if<GgufArray>(value);
  const std::vector<T>* typed =
      array == nullptr ? nullptr : std::get_if<std::vector<T>>(array);
  if (value != nullptr && typed == nullptr) {
    return WrongGgufValue(kvs, key, std::vector<T>());
  }
  return typed;
}

// The same for keys that must be there.
template <typename T>
absl::StatusOr<T> GetGguf(absl::Span<const GgufKv> kvs, absl::string_view key) {
  QUANT_ASSIGN_OR_RETURN(const T* const value, FindGguf<T>(kvs, key));
  if (value == nullptr) return WrongGgufValue(kvs, key, T());
  return *value;
}

template <typename T>
absl::StatusOr<const std::vector<T>*> GetGgufArray(absl::Span<const GgufKv> kvs,
                                                   absl::string_view key) {
  QUANT_ASSIGN_OR_RETURN(const std::vector<T>* const value,
                         FindGgufArray<T>(kvs, key));
  if (value == nullptr) return WrongGgufValue(kvs, key, std::vector<T>());
  return value;
}

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_GGUF_VALUE_H_
