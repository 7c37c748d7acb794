#include "core/container/gguf_value.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// Indexed by GgufType.
constexpr absl::string_view kNames[] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                        "i32", "f32", "bool", "string", "array",
                                        "u64", "i64", "f64"};
static_assert(std::size(kNames) == std::variant_size_v<GgufValue> &&
              std::size(kNames) == std::variant_size_v<GgufArray>);

}  // namespace

std::string GgufTypeName(int64_t id) {
  if (id >= 0 && id < static_cast<int64_t>(std::size(kNames))) {
    return std::string(kNames[id]);
  }
  return absl::StrCat("type ", id);
}

std::string GgufTypeName(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value)) {
    return absl::StrCat("array of ", kNames[array->index()]);
  }
  return std::string(kNames[value.index()]);
}

const GgufValue* FindGgufValue(absl::Span<const GgufKv> kvs,
                               absl::string_view key) {
  const auto found = std::find_if(
      kvs.begin(), kvs.end(), [&](const auto& kv) { return kv.key == key; });
  return found == kvs.end() ? nullptr : &found->value;
}

absl::Status WrongGgufValue(absl::Span<const GgufKv> kvs, absl::string_view key,
                            const GgufValue& wanted) {
  const GgufValue* found = FindGgufValue(kvs, key);
  return ModelMalformed(
      absl::StrCat("key ", QuotedName(key), ": ",
                   found == nullptr ? "is missing"
                                    : absl::StrCat("is ", GgufTypeName(*found)),
                   "; ", GgufTypeName(wanted), " is needed"));
}

}  // namespace quant
