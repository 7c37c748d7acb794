#include "core/container/safetensors_events.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"

namespace quant {
namespace {

constexpr absl::string_view kMetadataKey = "__metadata__";

std::vector<std::string> DTypeNames() {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(DType::kU64); ++i) {
    names.emplace_back(DTypeName(static_cast<DType>(i)));
  }
  return names;
}

}  // namespace

std::string TensorLabel(absl::string_view name) {
  return absl::StrCat("tensor ", QuotedName(name));
}

absl::Status SafetensorsEvents::Wrong(absl::string_view what) const {
  switch (place_) {
    case Place::kDocument:
    case Place::kEnd:
      return ModelMalformed(
          absl::StrCat("the header is ", what, "; it must be an object"));
    case Place::kMetadata:
    case Place::kMetadataValue:
      return ModelMalformed(absl::StrCat("__metadata__: found ", what,
                                         "; it maps strings to strings"));
    case Place::kTop:
    case Place::kEntry:
      return ModelMalformed(
          absl::StrCat(TensorLabel(tensors.back().name), ": found ", what,
                       "; an object with dtype, shape and data_offsets is "
                       "needed"));
    case Place::kDtype:
      return ModelMalformed(absl::StrCat(TensorLabel(tensors.back().name),
                                         ": dtype is ", what,
                                         "; it must be a string"));
    case Place::kShape:
    case Place::kShapeItem:
      return ModelMalformed(absl::StrCat(TensorLabel(tensors.back().name),
                                         ": shape has ", what,
                                         "; it is a list of integers >= 0"));
    case Place::kOffsets:
    case Place::kOffsetsItem:
      return ModelMalformed(absl::StrCat(TensorLabel(tensors.back().name),
                                         ": data_offsets has ", what,
                                         "; it is two integers >= 0"));
  }
  return ModelMalformed("the header is broken");
}

absl::Status SafetensorsEvents::Key(std::string key) {
  if (place_ == Place::kTop) return TopKey(std::move(key));
  if (place_ == Place::kMetadataValue) {
    if (!metadata.try_emplace(key).second) {
      return ModelMalformed(absl::StrCat("__metadata__: the key ",
                                         QuotedName(key), " is there twice"));
    }
    metadata_key_ = std::move(key);
    return absl::OkStatus();
  }
  return EntryKey(key);
}

absl::Status SafetensorsEvents::TopKey(std::string key) {
  if (key == kMetadataKey) {
    if (std::exchange(has_metadata_, true)) {
      return ModelMalformed("__metadata__ is there twice");
    }
    place_ = Place::kMetadata;
    return absl::OkStatus();
  }
  if (static_cast<int64_t>(key.size()) > kMaxTensorNameBytes) {
    return ModelMalformed(absl::StrCat(TensorLabel(key), ": the name has ",
                                       key.size(), " bytes; at most ",
                                       kMaxTensorNameBytes));
  }
  if (static_cast<int64_t>(tensors.size()) >= kMaxTensorsPerModel) {
    return ModelMalformed(
        absl::StrCat("more than ", kMaxTensorsPerModel, " tensors"));
  }
  tensors.emplace_back().name = std::move(key);
  has_dtype_ = false;
  has_shape_ = false;
  offsets_ = -1;
  return absl::OkStatus();
}

absl::Status SafetensorsEvents::EntryKey(absl::string_view key) {
  bool again = false;
  if (key == "dtype") {
    again = std::exchange(has_dtype_, true);
    place_ = Place::kDtype;
  } else if (key == "shape") {
    again = std::exchange(has_shape_, true);
    place_ = Place::kShape;
  } else if (key == "data_offsets") {
    again = offsets_ >= 0;
    offsets_ = 0;
    place_ = Place::kOffsets;
  } else {
    // The reference reader passes over fields it doesn't know.
    SkipValue();
  }
  if (!again) return absl::OkStatus();
  return ModelMalformed(absl::StrCat(TensorLabel(tensors.back().name), ": ",
                                     key, " is there twice"));
}

absl::Status SafetensorsEvents::StartObject() {
  switch (place_) {
    case Place::kDocument:
      place_ = Place::kTop;
      return absl::OkStatus();
    case Place::kMetadata:
      place_ = Place::kMetadataValue;
      return absl::OkStatus();
    case Place::kTop:
      place_ = Place::kEntry;
      return absl::OkStatus();
    default:
      return Wrong("an object");
  }
}

absl::Status SafetensorsEvents::EndObject() {
  if (place_ == Place::kTop) {
    place_ = Place::kEnd;
    return absl::OkStatus();
  }
  if (place_ == Place::kEntry && !(has_dtype_ && has_shape_ && offsets_ == 2)) {
    return ModelMalformed(
        absl::StrCat(TensorLabel(tensors.back().name),
                     !has_dtype_   ? ": dtype"
                     : !has_shape_ ? ": shape"
                                   : ": data_offsets",
                     " is missing; dtype, shape and data_offsets are needed"));
  }
  place_ = Place::kTop;
  return absl::OkStatus();
}

absl::Status SafetensorsEvents::StartArray() {
  switch (place_) {
    case Place::kShape:
      place_ = Place::kShapeItem;
      return absl::OkStatus();
    case Place::kOffsets:
      place_ = Place::kOffsetsItem;
      return absl::OkStatus();
    default:
      return Wrong("a list");
  }
}

absl::Status SafetensorsEvents::EndArray() {
  if (place_ == Place::kOffsetsItem && offsets_ != 2) {
    return Wrong(absl::StrCat(offsets_, " numbers"));
  }
  place_ = Place::kEntry;
  return absl::OkStatus();
}

absl::Status SafetensorsEvents::String(std::string value) {
  if (place_ == Place::kMetadataValue) {
    metadata[metadata_key_] = std::move(value);
    return absl::OkStatus();
  }
  if (place_ == Place::kDtype) return SetDtype(value);
  return Wrong("a string");
}

absl::Status SafetensorsEvents::SetDtype(absl::string_view name) {
  const auto dtype = ParseDType(name);
  if (!dtype) {
    const absl::Status unknown = UnknownNameError("dtype", name, DTypeNames());
    return ModelMalformed(absl::StrCat(TensorLabel(tensors.back().name), ": ",
                                       unknown.message()));
  }
  tensors.back().dtype = *dtype;
  place_ = Place::kEntry;
  return absl::OkStatus();
}

absl::Status SafetensorsEvents::Integer(int64_t value) {
  if (place_ == Place::kShapeItem) {
    Shape& shape = tensors.back().shape;
    if (static_cast<int64_t>(shape.size()) >= kMaxTensorRank) {
      return Wrong(absl::StrCat("more than ", kMaxTensorRank, " dimensions"));
    }
    shape.push_back(value);
    return absl::OkStatus();
  }
  if (place_ == Place::kOffsetsItem) return AddOffset(value);
  return Wrong(absl::StrCat("the number ", value));
}

absl::Status SafetensorsEvents::AddOffset(int64_t value) {
  SafetensorsTensor& tensor = tensors.back();
  if (offsets_ >= 2) return Wrong("more than two numbers");
  (offsets_ == 0 ? tensor.begin : tensor.end) = value;
  ++offsets_;
  return absl::OkStatus();
}

absl::Status SafetensorsEvents::Null() {
  if (place_ == Place::kMetadata) {
    place_ = Place::kTop;
    return absl::OkStatus();
  }
  return Wrong("null");
}

absl::Status SafetensorsEvents::Other(absl::string_view what) {
  return Wrong(what);
}

}  // namespace quant
