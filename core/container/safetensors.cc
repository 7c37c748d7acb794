#include "core/container/safetensors.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/container/json_events.h"
#include "core/container/safetensors_events.h"

namespace quant {
namespace {

constexpr int64_t kLengthBytes = 8;

uint64_t LoadLength(absl::string_view head) {
  uint64_t length = 0;
  for (int i = kLengthBytes; i-- > 0;) {
    length = length << 8 | static_cast<uint8_t>(head[i]);
  }
  return length;
}

std::string StoreLength(uint64_t length) {
  std::string head(kLengthBytes, '\0');
  for (char& byte : head) {
    byte = static_cast<char>(length & 0xFF);
    length >>= 8;
  }
  return head;
}

absl::Status CheckUniqueNames(const std::vector<SafetensorsTensor>& tensors) {
  std::vector<absl::string_view> names;
  names.reserve(tensors.size());
  for (const SafetensorsTensor& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return ModelMalformed(
      absl::StrCat(TensorLabel(*twice), " is in the header twice"));
}

absl::Status CheckSize(const SafetensorsTensor& tensor) {
  const auto bytes = TensorBytes(tensor.dtype, tensor.shape);
  if (bytes && tensor.end - tensor.begin == *bytes) return absl::OkStatus();
  const std::string what =
      absl::StrCat(TensorLabel(tensor.name), ": ", DTypeName(tensor.dtype), " ",
                   ShapeToString(tensor.shape));
  if (!bytes) {
    return ModelMalformed(
        absl::StrCat(what, " overflows or does not fill whole bytes"));
  }
  return ModelMalformed(absl::StrCat(what, " needs ", *bytes,
                                     " bytes; data_offsets are [", tensor.begin,
                                     ", ", tensor.end, "]"));
}

// Tensors must fill the data section back to back: no hole hides bytes, no
// overlap aliases them.
absl::Status CheckOffsets(const std::vector<SafetensorsTensor>& tensors,
                          int64_t data_bytes) {
  int64_t end = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.begin != end) {
      return ModelMalformed(absl::StrCat(
          TensorLabel(tensor.name), ": begins at byte ", tensor.begin,
          tensor.begin < end ? ", inside of the tensor before it"
                             : ", after a hole",
          "; byte ", end, " is next"));
    }
    end = tensor.end;
    if (end > data_bytes) {
      return ModelMalformed(absl::StrCat(
          TensorLabel(tensor.name), ": ends at byte ", end, "; the file has ",
          data_bytes, " bytes of data: it is truncated"));
    }
  }
  if (end == data_bytes) return absl::OkStatus();
  return ModelMalformed(absl::StrCat("the tensors end at byte ", end,
                                     " of the data; the file has ",
                                     data_bytes - end, " more bytes"));
}

bool LooksLikeZip(absl::string_view head) {
  return head.size() >= 4 && head.substr(0, 2) == "PK" &&
         (head.substr(2, 2) == "\x03\x04" || head.substr(2, 2) == "\x05\x06");
}

// The PROTO opcode of protocols 2 to 5. Also the first bytes of some good
// header lengths, so that this counts only where the length makes no sense.
bool LooksLikePickle(absl::string_view head) {
  return head.size() >= 2 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5;
}

absl::Status UnsafeFormat(const File& file, absl::string_view what) {
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kUnsafeFormat,
                   absl::StrCat(file.path(), ": is a ", what,
                                ", which could run code when it is opened; "
                                "only safetensors are read"));
}

absl::Status CheckHeaderLength(const File& file, absl::string_view head,
                               int64_t file_size) {
  if (LooksLikeZip(head)) return UnsafeFormat(file, "zip archive");
  uint64_t length = 0;
  if (head.size() == kLengthBytes) {
    length = LoadLength(head);
    if (length > 0 && length <= kMaxSafetensorsHeaderBytes &&
        static_cast<int64_t>(length) <= file_size - kLengthBytes) {
      return absl::OkStatus();
    }
  }
  if (LooksLikePickle(head)) return UnsafeFormat(file, "pickle");
  if (head.size() < kLengthBytes) {
    return ModelMalformed(
        absl::StrCat(file.path(), ": has ", file_size,
                     " bytes; a safetensors file begins with 8 bytes of "
                     "header length"));
  }
  return ModelMalformed(
      absl::StrCat(file.path(), ": the header has ", length,
                   " bytes; at least 1, at most ", kMaxSafetensorsHeaderBytes,
                   " and no more than the file's ", file_size, " are allowed"));
}

// One entry of the header, as the reference writer spells it.
// The beginning of a header.
absl::StatusOr<std::string> MetadataText(
    const std::map<std::string, std::string>& metadata) {
  std::string text = "{\"__metadata__\":{";
  for (const auto& [key, value] : metadata) {
    QUANT_ASSIGN_OR_RETURN(const std::string quoted_key, JsonQuote(key));
    QUANT_ASSIGN_OR_RETURN(const std::string quoted, JsonQuote(value));
    if (text.back() != '{') text += ',';
    absl::StrAppend(&text, quoted_key, ":", quoted);
  }
  return text + '}';
}

absl::StatusOr<std::string> EntryText(const SafetensorsTensor& tensor) {
  QUANT_ASSIGN_OR_RETURN(std::string text, JsonQuote(tensor.name));
  absl::StrAppend(&text, ":{\"dtype\":\"", DTypeName(tensor.dtype),
                  "\",\"shape\":[");
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ",", tensor.shape[i]);
  }
  absl::StrAppend(&text, "],\"data_offsets\":[", tensor.begin, ",", tensor.end,
                  "]}");
  return text;
}

absl::Status CheckWritable(const std::vector<SafetensorsTensor>& tensors) {
  if (static_cast<int64_t>(tensors.size()) > kMaxTensorsPerModel) {
    return InvalidSpec(absl::StrCat(tensors.size(), " tensors; at most ",
                                    kMaxTensorsPerModel, " go in one file"));
  }
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.name == "__metadata__" ||
        static_cast<int64_t>(tensor.name.size()) > kMaxTensorNameBytes ||
        static_cast<int64_t>(tensor.shape.size()) > kMaxTensorRank) {
      return InvalidSpec(absl::StrCat(
          TensorLabel(tensor.name), ": the name is reserved or beyond ",
          kMaxTensorNameBytes, " bytes, or the rank beyond ", kMaxTensorRank));
    }
  }
  if (absl::Status unique = CheckUniqueNames(tensors); !unique.ok()) {
    return InvalidSpec(unique.message());
  }
  return absl::OkStatus();
}

// Gives each tensor its place; returns the bytes of data.
absl::StatusOr<int64_t> AssignOffsets(std::vector<SafetensorsTensor>& tensors) {
  int64_t end = 0;
  for (SafetensorsTensor& tensor : tensors) {
    const auto bytes = TensorBytes(tensor.dtype, tensor.shape);
    const auto next = bytes ? CheckedAdd(end, *bytes) : std::nullopt;
    if (!next) {
      return InvalidSpec(
          absl::StrCat(TensorLabel(tensor.name), ": ", DTypeName(tensor.dtype),
                       " ", ShapeToString(tensor.shape),
                       " overflows the file or does not fill whole bytes"));
    }
    tensor.begin = std::exchange(end, *next);
    tensor.end = end;
  }
  return end;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         int64_t file_size) {
  const int64_t length = static_cast<int64_t>(json.size());
  if (length > kMaxSafetensorsHeaderBytes ||
      length > file_size - kLengthBytes) {
    return ModelMalformed(absl::StrCat("the header has ", length,
                                       " bytes; the file has ", file_size));
  }
  SafetensorsEvents events;
  QUANT_RETURN_IF_ERROR(ParseJsonEvents(json, events));
  SafetensorsHeader header{.tensors = std::move(events.tensors),
                           .metadata = std::move(events.metadata),
                           .data_start = kLengthBytes + length};
  QUANT_RETURN_IF_ERROR(CheckUniqueNames(header.tensors));
  for (const SafetensorsTensor& tensor : header.tensors) {
    QUANT_RETURN_IF_ERROR(CheckSize(tensor));
  }
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
              return std::tie(a.begin, a.end, a.name) <
                     std::tie(b.begin, b.end, b.name);
            });
  QUANT_RETURN_IF_ERROR(
      CheckOffsets(header.tensors, file_size - header.data_start));
  return header;
}

absl::StatusOr<std::string> ReadSafetensorsHeaderText(const File& file) {
  QUANT_ASSIGN_OR_RETURN(const int64_t file_size, file.Size());
  uint8_t bytes[kLengthBytes] = {};
  const size_t head_bytes = std::min(file_size, kLengthBytes);
  QUANT_RETURN_IF_ERROR(
      file.ReadAt(0, absl::MakeSpan(bytes).first(head_bytes)));
  const absl::string_view head(reinterpret_cast<char*>(bytes), head_bytes);
  QUANT_RETURN_IF_ERROR(CheckHeaderLength(file, head, file_size));
  std::string json(LoadLength(head), '\0');
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      kLengthBytes,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(json.data()), json.size())));
  return json;
}

absl::StatusOr<SafetensorsHeader> ReadSafetensorsHeader(const File& file) {
  QUANT_ASSIGN_OR_RETURN(const std::string json,
                         ReadSafetensorsHeaderText(file));
  QUANT_ASSIGN_OR_RETURN(const int64_t file_size, file.Size());
  auto header = ParseSafetensorsHeader(json, file_size);
  if (!header.ok()) return Annotate(header.status(), file.path());
  return header;
}

absl::StatusOr<SafetensorsLayout> LayOutSafetensors(
    std::vector<SafetensorsTensor> tensors,
    const std::map<std::string, std::string>& metadata) {
  QUANT_RETURN_IF_ERROR(CheckWritable(tensors));
  std::sort(tensors.begin(), tensors.end(),
            [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
              return std::tie(b.dtype, a.name) < std::tie(a.dtype, b.name);
            });
  QUANT_ASSIGN_OR_RETURN(const int64_t data_bytes, AssignOffsets(tensors));
  QUANT_ASSIGN_OR_RETURN(std::string json, MetadataText(metadata));
  for (const SafetensorsTensor& tensor : tensors) {
    QUANT_ASSIGN_OR_RETURN(const std::string entry, EntryText(tensor));
    absl::StrAppend(&json, ",", entry);
  }
  json += '}';
  json.resize(RoundUp(static_cast<int64_t>(json.size()), kLengthBytes), ' ');
  if (static_cast<int64_t>(json.size()) > kMaxSafetensorsHeaderBytes) {
    return InvalidSpec(absl::StrCat("the header has ", json.size(),
                                    " bytes; at most ",
                                    kMaxSafetensorsHeaderBytes));
  }
  SafetensorsLayout layout{.header = StoreLength(json.size()) + json,
                           .tensors = std::move(tensors)};
  const auto file_size = CheckedAdd(layout.header.size(), data_bytes);
  if (!file_size) return InvalidSpec("the file overflows 2^63 bytes");
  layout.file_size = *file_size;
  return layout;
}

}  // namespace quant
