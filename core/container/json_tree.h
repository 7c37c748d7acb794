// Small JSON documents as trees: strict (no duplicate keys, numbers finite),
// and never larger than a number of values that is fixed before.
#ifndef QUANT_CORE_CONTAINER_JSON_TREE_H_
#define QUANT_CORE_CONTAINER_JSON_TREE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/base/limits.h"
#include "core/container/json_events.h"

namespace quant {

// Builds one value out of events. A reader of large documents may hand parts to
// it and stream the rest.
class JsonTree final : public JsonEvents {
 public:
  explicit JsonTree(int64_t max_nodes = kMaxJsonNodes) : budget_(max_nodes) {}
  // Values point into themselves while they are built.
  JsonTree(const JsonTree&) = delete;
  JsonTree& operator=(const JsonTree&) = delete;

  // Whether the value is complete.
  bool done() const { return started_ && open_.empty(); }
  // The value; leaves the tree empty, for the next one. The budget goes on.
  nlohmann::json Take();

  absl::Status Key(std::string key) override;
  absl::Status StartObject() override;
  absl::Status EndObject() override;
  absl::Status StartArray() override;
  absl::Status EndArray() override;
  absl::Status String(std::string value) override;
  absl::Status Integer(int64_t value) override;
  absl::Status Null() override;
  absl::Status Other(absl::string_view what) override;
  absl::Status Number(double value, absl::string_view text) override;
  absl::Status Boolean(bool value) override;

 private:
  absl::Status Add(nlohmann::json value, bool opens = false);
  absl::Status Close();

  int64_t budget_;
  bool started_ = false;
  nlohmann::json root_;
  std::vector<nlohmann::json*> open_;
  std::string key_;
};

// The whole of `text`. DATA_LOSS MODEL_MALFORMED when it is not JSON, repeats a
// key, or has more values.
absl::StatusOr<nlohmann::json> ParseJsonTree(absl::string_view text,
                                             int64_t max_nodes = kMaxJsonNodes);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_JSON_TREE_H_
