#include "client/cli/yaml.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace quant::cli {
namespace {

using Json = nlohmann::ordered_json;

// Words that some YAML reader takes for a boolean or null.
constexpr absl::string_view kWords[] = {"true", "false", "null", "yes", "no",
                                        "on",   "off",   "y",    "n"};

bool IsPlain(const std::string& text) {
  if (text.empty() || !absl::ascii_isalpha(text[0])) return false;
  if (std::any_of(std::begin(kWords), std::end(kWords), [&](auto word) {
        return absl::EqualsIgnoreCase(text, word);
      })) {
    return false;
  }
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.' ||
           c == '/';
  });
}

std::string Scalar(const Json& value) {
  if (value.is_string() && IsPlain(value.get_ref<const std::string&>())) {
    return value.get<std::string>();
  }
  return value.dump();
}

bool IsBlock(const Json& value) {
  return value.is_structured() && !value.empty();
}

void Emit(const Json& value, const std::string& indent, std::string& out);

// What follows "key:" or "-".
void EmitAfter(const Json& value, const std::string& indent, std::string& out) {
  if (IsBlock(value)) {
    out += "\n";
    Emit(value, indent, out);
  } else {
    absl::StrAppend(&out, " ", Scalar(value), "\n");
  }
}

void Emit(const Json& value, const std::string& indent, std::string& out) {
  if (value.is_array()) {
    for (const Json& item : value) {
      if (!IsBlock(item)) {
        absl::StrAppend(&out, indent, "- ", Scalar(item), "\n");
        continue;
      }
      // "- " takes the place of the first line's indentation.
      std::string block;
      Emit(item, indent + "  ", block);
      block.replace(indent.size(), 2, "- ");
      out += block;
    }
    return;
  }
  for (const auto& [key, item] : value.items()) {
    absl::StrAppend(&out, indent, Scalar(Json(key)), ":");
    EmitAfter(item, indent + "  ", out);
  }
}

}  // namespace

std::string JsonToYaml(const std::string& json) {
  const Json value = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return json;
  if (!IsBlock(value)) return Scalar(value) + "\n";
  std::string out;
  Emit(value, "", out);
  return out;
}

}  // namespace quant::cli
