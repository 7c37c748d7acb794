#include "core/container/gguf.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/byte_cursor.h"
#include "core/container/gguf_rules.h"
#include "core/container/json_events.h"

namespace quant {
namespace {

// The least that a key and a tensor take in a file: empty name, smallest value.
constexpr int64_t kMinKeyBytes = 8 + 4 + 1;
constexpr int64_t kMinTensorBytes = 8 + 4 + 4 + 8;

// Types that files may have and quantd does not read.
struct ForeignType {
  int32_t id;
  absl::string_view name;
};
constexpr ForeignType kForeignTypes[] = {
    {9, "Q8_1"},     {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"},   {22, "IQ2_S"},
    {29, "IQ1_M"},   {40, "NVFP4"}, {41, "Q1_0"},    {42, "Q2_0"},
};

absl::Status DefectToStatus(const std::string& defect) {
  return defect.empty() ? absl::OkStatus() : ModelMalformed(defect);
}

// A variant that holds the alternative with this index.
template <typename Variant, size_t... kIndex>
Variant Alternative(size_t index, std::index_sequence<kIndex...>) {
  Variant out;
  ((index == kIndex ? static_cast<void>(out.template emplace<kIndex>())
                    : static_cast<void>(0)),
   ...);
  return out;
}

class HeaderReader {
 public:
  HeaderReader(const File& file, int64_t file_size)
      : file_size_(file_size),
        cursor_(file, std::min(file_size, kMaxGgufHeaderBytes)) {}

  absl::StatusOr<GgufHeader> Run() {
    QUANT_RETURN_IF_ERROR(ReadMagicAndVersion());
    QUANT_ASSIGN_OR_RETURN(
        const int64_t tensors,
        ReadCount("tensors", kMaxTensorsPerModel, kMinTensorBytes));
    QUANT_ASSIGN_OR_RETURN(const int64_t keys,
                           ReadCount("keys", kMaxGgufKeys, kMinKeyBytes));
    for (int64_t i = 0; i < keys; ++i) QUANT_RETURN_IF_ERROR(ReadKey(i));
    QUANT_RETURN_IF_ERROR(ReadAlignment());
    for (int64_t i = 0; i < tensors; ++i) QUANT_RETURN_IF_ERROR(ReadTensor(i));
    QUANT_RETURN_IF_ERROR(
        DefectToStatus(GgufDuplicates(header_.kvs, header_.tensors)));
    QUANT_RETURN_IF_ERROR(PlaceTensors());
    header_.digest = cursor_.digest();
    return std::move(header_);
  }

 private:
  absl::Status ReadMagicAndVersion() {
    QUANT_ASSIGN_OR_RETURN(const std::string magic, cursor_.String(4));
    if (magic != kGgufMagic) {
      return ModelMalformed(absl::StrCat("is not a GGUF file: it begins with ",
                                         QuotedName(magic)));
    }
    QUANT_ASSIGN_OR_RETURN(const uint32_t version, cursor_.Scalar<uint32_t>());
    if (version == 2 || version == 3) {
      header_.version = static_cast<int>(version);
      return absl::OkStatus();
    }
    return ModelMalformed(absl::StrCat(
        version != 0 && (version & 0xFFFF) == 0
            ? std::string("is big-endian; little-endian files")
            : absl::StrCat("has GGUF version ", version, "; versions 2 and 3"),
        " are read"));
  }

  // A count of things that take at least `element_bytes` each.
  absl::StatusOr<int64_t> ReadCount(absl::string_view what, int64_t limit,
                                    int64_t element_bytes) {
    QUANT_ASSIGN_OR_RETURN(const uint64_t count, cursor_.Scalar<uint64_t>());
    const int64_t room = cursor_.remaining() / element_bytes;
    if (count <= static_cast<uint64_t>(std::min(limit, room))) {
      return static_cast<int64_t>(count);
    }
    return ModelMalformed(absl::StrCat(
        count, " ", what, "; at most ", limit, " are allowed, and the ",
        cursor_.remaining(), " bytes that are left hold at most ", room));
  }

  absl::StatusOr<std::string> ReadString() {
    QUANT_ASSIGN_OR_RETURN(const int64_t length,
                           ReadCount("bytes of text", kMaxGgufHeaderBytes, 1));
    return cursor_.String(length);
  }

  absl::Status ReadKey(int64_t index) {
    const std::string place = absl::StrCat("key ", index);
    auto key = ReadString();
    if (!key.ok()) return Annotate(key.status(), place);
    if (const std::string defect = GgufKeyDefect(*key); !defect.empty()) {
      return Annotate(ModelMalformed(defect), place);
    }
    GgufKv kv{.key = *std::move(key), .value = {}};
    if (absl::Status status = ReadTyped(kv.value); !status.ok()) {
      return Annotate(status, GgufKeyLabel(kv.key));
    }
    header_.kvs.push_back(std::move(kv));
    return absl::OkStatus();
  }

  // A type, then a value of that type.
  template <typename Variant>
  absl::Status ReadTyped(Variant& out) {
    constexpr size_t kTypes = std::variant_size_v<Variant>;
    QUANT_ASSIGN_OR_RETURN(const int32_t type, cursor_.Scalar<int32_t>());
    if (type < 0 || type >= static_cast<int32_t>(kTypes)) {
      return ModelMalformed(absl::StrCat("has ", GgufTypeName(type),
                                         "; types 0 to ", kTypes - 1,
                                         " are known"));
    }
    out = Alternative<Variant>(type, std::make_index_sequence<kTypes>());
    return std::visit([this](auto& value) { return ReadValue(value); }, out);
  }

  template <typename T>
  absl::Status ReadValue(T& value) {
    QUANT_ASSIGN_OR_RETURN(value, cursor_.Scalar<T>());
    return absl::OkStatus();
  }
  absl::Status ReadValue(bool& value) {
    QUANT_ASSIGN_OR_RETURN(const uint8_t byte, cursor_.Scalar<uint8_t>());
    if (byte > 1) {
      return ModelMalformed(
          absl::StrCat("is the bool ", byte, "; 0 or 1 is allowed"));
    }
    value = byte == 1;
    return absl::OkStatus();
  }
  absl::Status ReadValue(std::string& value) {
    QUANT_ASSIGN_OR_RETURN(value, ReadString());
    return absl::OkStatus();
  }
  absl::Status ReadValue(GgufArray& value) { return ReadTyped(value); }
  absl::Status ReadValue(std::monostate&) {
    return ModelMalformed("is an array of arrays, which is not read");
  }
  template <typename T>
  absl::Status ReadValue(std::vector<T>& values) {
    QUANT_ASSIGN_OR_RETURN(
        const int64_t count,
        ReadCount("elements", kMaxGgufArrayCount, sizeof(T)));
    QUANT_ASSIGN_OR_RETURN(values, cursor_.Array<T>(count));
    return absl::OkStatus();
  }
  absl::Status ReadValue(std::vector<bool>& values) {
    return ReadElements("elements", 1, values);
  }
  absl::Status ReadValue(std::vector<std::string>& values) {
    return ReadElements("strings", 8, values);
  }

  template <typename T>
  absl::Status ReadElements(absl::string_view what, int64_t element_bytes,
                            std::vector<T>& values) {
    QUANT_ASSIGN_OR_RETURN(const int64_t count,
                           ReadCount(what, kMaxGgufArrayCount, element_bytes));
    values.reserve(count);
    for (int64_t i = 0; i < count; ++i) {
      T value{};
      if (absl::Status status = ReadValue(value); !status.ok()) {
        return Annotate(status, absl::StrCat("element ", i));
      }
      values.push_back(std::move(value));
    }
    return absl::OkStatus();
  }

  absl::Status ReadAlignment() {
    QUANT_ASSIGN_OR_RETURN(const uint32_t* const alignment,
                           FindGguf<uint32_t>(header_.kvs, kAlignmentKey));
    if (alignment != nullptr) header_.alignment = *alignment;
    return DefectToStatus(GgufAlignmentDefect(header_.alignment));
  }

  absl::Status ReadTensor(int64_t index) {
    GgufTensor tensor;
    if (absl::Status status = ReadTensorEntry(tensor); !status.ok()) {
      return Annotate(status, absl::StrCat("tensor ", index));
    }
    QUANT_RETURN_IF_ERROR(DefectToStatus(GgufTensorDefect(tensor)));
    header_.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  absl::Status ReadTensorEntry(GgufTensor& tensor) {
    QUANT_ASSIGN_OR_RETURN(tensor.name, ReadString());
    QUANT_ASSIGN_OR_RETURN(const uint32_t rank, cursor_.Scalar<uint32_t>());
    if (rank > kMaxGgufTensorRank) {
      return ModelMalformed(absl::StrCat(QuotedName(tensor.name), " has ", rank,
                                         " dimensions; at most ",
                                         kMaxGgufTensorRank, " are allowed"));
    }
    QUANT_ASSIGN_OR_RETURN(tensor.shape, cursor_.Array<int64_t>(rank));
    std::reverse(tensor.shape.begin(), tensor.shape.end());
    QUANT_ASSIGN_OR_RETURN(const int32_t type, cursor_.Scalar<int32_t>());
    QUANT_ASSIGN_OR_RETURN(tensor.type, KnownType(tensor.name, type));
    QUANT_ASSIGN_OR_RETURN(tensor.begin, cursor_.Scalar<int64_t>());
    return absl::OkStatus();
  }

  static absl::StatusOr<GgmlType> KnownType(absl::string_view name,
                                            int32_t id) {
    if (const GgmlTypeInfo* info = FindGgmlType(id)) return info->type;
    for (const ForeignType& foreign : kForeignTypes) {
      if (foreign.id != id) continue;
      return MakeError(
          absl::StatusCode::kUnimplemented, Reason::kUnsupported,
          absl::StrCat(QuotedName(name), " has type ", foreign.name,
                       ", which is not read; use the original weights or a "
                       "file with types like Q4_K or Q8_0"));
    }
    return ModelMalformed(absl::StrCat(QuotedName(name), " has type ", id,
                                       "; there is no such type"));
  }

  // From offsets to places, which must follow each other as a writer that pads
  // each tensor makes them: no hole hides bytes, no overlap aliases them.
  absl::Status PlaceTensors() {
    header_.data_start = *AlignedUp(cursor_.position(), header_.alignment);
    int64_t next = header_.data_start;
    for (GgufTensor& tensor : header_.tensors) {
      const std::string label = GgufTensorLabel(tensor.name);
      if (tensor.begin != next - header_.data_start) {
        return ModelMalformed(absl::StrCat(
            label, ": has offset ", static_cast<uint64_t>(tensor.begin),
            "; it must follow the tensor before it at ",
            next - header_.data_start));
      }
      tensor.begin = next;
      const auto end =
          CheckedAdd(next, *GgmlTensorBytes(tensor.type, tensor.shape));
      if (!end || *end > file_size_) {
        return ModelMalformed(absl::StrCat(
            label, ": ends ",
            end ? absl::StrCat("at byte ", *end) : "beyond 2^63 bytes",
            "; the file has ", file_size_, " bytes: it is truncated"));
      }
      tensor.end = *end;
      next = *AlignedUp(*end, header_.alignment);  // no file has 2^62 bytes
    }
    return absl::OkStatus();
  }

  int64_t file_size_;
  ByteCursor cursor_;
  GgufHeader header_;
};

}  // namespace

absl::StatusOr<GgufHeader> ReadGgufHeader(const File& file) {
  QUANT_ASSIGN_OR_RETURN(const int64_t file_size, file.Size());
  auto header = HeaderReader(file, file_size).Run();
  if (!header.ok()) return Annotate(header.status(), file.path());
  return header;
}

}  // namespace quant
