#include "core/container/json_tree.h"

#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {

using Json = nlohmann::json;

Json JsonTree::Take() {
  started_ = false;
  return std::exchange(root_, Json());
}

absl::Status JsonTree::Add(Json value, bool opens) {
  if (--budget_ < 0) return ModelMalformed("has too many values");
  Json* place = &root_;
  if (!open_.empty() && open_.back()->is_array()) {
    open_.back()->push_back(Json());
    place = &open_.back()->back();
  } else if (!open_.empty()) {
    place = &(*open_.back())[key_];
  }
  *place = std::move(value);
  started_ = true;
  if (opens) open_.push_back(place);
  return absl::OkStatus();
}

absl::Status JsonTree::Close() {
  open_.pop_back();
  return absl::OkStatus();
}

absl::Status JsonTree::Key(std::string key) {
  if (open_.back()->contains(key)) {
    return ModelMalformed(
        absl::StrCat("the key ", QuotedName(key), " stands there twice"));
  }
  key_ = std::move(key);
  return absl::OkStatus();
}

absl::Status JsonTree::StartObject() { return Add(Json::object(), true); }
absl::Status JsonTree::EndObject() { return Close(); }
absl::Status JsonTree::StartArray() { return Add(Json::array(), true); }
absl::Status JsonTree::EndArray() { return Close(); }
absl::Status JsonTree::String(std::string value) {
  return Add(std::move(value));
}
absl::Status JsonTree::Integer(int64_t value) { return Add(value); }
absl::Status JsonTree::Null() { return Add(Json()); }
absl::Status JsonTree::Boolean(bool value) { return Add(value); }

absl::Status JsonTree::Number(double value, absl::string_view text) {
  int64_t integer = 0;
  if (absl::SimpleAtoi(text, &integer)) return Add(integer);
  if (!std::isfinite(value)) return Other(text);
  return Add(value);
}

absl::Status JsonTree::Other(absl::string_view what) {
  return ModelMalformed(absl::StrCat(what.substr(0, 40), " can't be read"));
}

absl::StatusOr<Json> ParseJsonTree(absl::string_view text, int64_t max_nodes) {
  JsonTree tree(max_nodes);
  QUANT_RETURN_IF_ERROR(ParseJsonEvents(text, tree));
  return tree.Take();
}

}  // namespace quant
