// The syntax of a safetensors header; what the numbers mean is checked by
// safetensors.cc.
#ifndef QUANT_CORE_CONTAINER_SAFETENSORS_EVENTS_H_
#define QUANT_CORE_CONTAINER_SAFETENSORS_EVENTS_H_

#include <map>
#include <string>
#include <vector>

#include "core/container/json_events.h"
#include "core/container/safetensors.h"

namespace quant {

// Collects the entries in the order of the text. Types are checked, keys of one
// entry and of the metadata are unique; names of tensors may still repeat.
class SafetensorsEvents final : public JsonEvents {
 public:
  std::vector<SafetensorsTensor> tensors;
  std::map<std::string, std::string> metadata;

  absl::Status Key(std::string key) override;
  absl::Status StartObject() override;
  absl::Status EndObject() override;
  absl::Status StartArray() override;
  absl::Status EndArray() override;
  absl::Status String(std::string value) override;
  absl::Status Integer(int64_t value) override;
  absl::Status Null() override;
  absl::Status Other(absl::string_view what) override;

 private:
  // Where the next value stands.
  enum class Place {
    kDocument,
    kTop,            // after a tensor's name
    kMetadata,       // after "__metadata__"
    kMetadataValue,  // inside it, after a key
    kEntry,          // inside a tensor's object, before a key
    kDtype,
    kShape,
    kShapeItem,
    kOffsets,
    kOffsetsItem,
    kEnd,
  };

  absl::Status Wrong(absl::string_view what) const;
  absl::Status TopKey(std::string key);
  absl::Status EntryKey(absl::string_view key);
  absl::Status SetDtype(absl::string_view name);
  absl::Status AddOffset(int64_t value);

  Place place_ = Place::kDocument;
  bool has_metadata_ = false;
  std::string metadata_key_;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  int offsets_ = -1;  // numbers seen; -1 before the key
};

// "tensor \"x\"", escaped and shortened for messages.
std::string TensorLabel(absl::string_view name);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_SAFETENSORS_EVENTS_H_
