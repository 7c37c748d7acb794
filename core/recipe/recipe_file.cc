// recipe.h: recipe files. YAML is read node by node against the proto's
// descriptor, so that an unknown key is answered with its line and the nearest
// known key; JSON is YAML's subset.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>
#include <yaml-cpp/yaml.h>

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/bytes.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/names.h"
#include "core/base/status_macros.h"
#include "core/recipe/recipe.h"

namespace quant {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::OneofDescriptor;
using Json = nlohmann::json;

constexpr size_t kMaxRecipeBytes = 1 << 20;
// Aliases can repeat a node exponentially often.
constexpr int kMaxNodes = 100'000;

std::string Where(const YAML::Node& node) {
  return absl::StrCat("recipe file, line ", node.Mark().line + 1);
}

class Converter {
 public:
  absl::StatusOr<Json> Message(const YAML::Node& node, const Descriptor& type) {
    QUANT_RETURN_IF_ERROR(Count(node));
    if (!node.IsMap()) {
      return InvalidSpec(absl::StrCat(Where(node), ": ", type.name(),
                                      " needs keys and values"));
    }
    Json object = Json::object();
    for (const auto& item : node) {
      const std::string key = item.first.Scalar();
      const FieldDescriptor* field = type.FindFieldByName(key);
      if (field == nullptr) field = type.FindFieldByCamelcaseName(key);
      if (field == nullptr) return UnknownKey(item.first, key, type);
      if (object.contains(field->name())) {
        return InvalidSpec(
            absl::StrCat(Where(item.first), ": \"", key, "\" is given twice"));
      }
      QUANT_RETURN_IF_ERROR(CheckAlone(item.first, *field, object));
      QUANT_ASSIGN_OR_RETURN(object[field->name()], Field(item.second, *field));
    }
    return object;
  }

 private:
  absl::Status Count(const YAML::Node& node) {
    if (++nodes_ <= kMaxNodes) return absl::OkStatus();
    return InvalidSpec(
        absl::StrCat(Where(node), ": more than ", kMaxNodes, " values"));
  }

  static absl::Status UnknownKey(const YAML::Node& at, const std::string& key,
                                 const Descriptor& type) {
    std::vector<std::string> known;
    for (int i = 0; i < type.field_count(); ++i) {
      known.push_back(type.field(i)->name());
    }
    return Annotate(UnknownNameError("key", key, known), Where(at));
  }

  // Of the fields of a oneof, a message has one.
  static absl::Status CheckAlone(const YAML::Node& at,
                                 const FieldDescriptor& field,
                                 const Json& object) {
    const OneofDescriptor* oneof = field.real_containing_oneof();
    if (oneof == nullptr) return absl::OkStatus();
    for (int i = 0; i < oneof->field_count(); ++i) {
      const std::string& other = oneof->field(i)->name();
      if (!object.contains(other)) continue;
      return InvalidSpec(absl::StrCat(
          Where(at), ": a ",
          absl::AsciiStrToLower(field.containing_type()->name()),
          " has either \"", other, "\" or \"", field.name(), "\", not both"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Field(const YAML::Node& node,
                             const FieldDescriptor& field) {
    if (!field.is_repeated()) return Single(node, field);
    if (!node.IsSequence()) {
      return InvalidSpec(
          absl::StrCat(Where(node), ": \"", field.name(), "\" needs a list"));
    }
    Json list = Json::array();
    for (const YAML::Node& item : node) {
      QUANT_ASSIGN_OR_RETURN(Json value, Single(item, field));
      list.push_back(std::move(value));
    }
    return list;
  }

  absl::StatusOr<Json> Single(const YAML::Node& node,
                              const FieldDescriptor& field) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      return Message(node, *field.message_type());
    }
    QUANT_RETURN_IF_ERROR(Count(node));
    if (!node.IsScalar()) {
      return InvalidSpec(absl::StrCat(Where(node), ": \"", field.name(),
                                      "\" needs one value"));
    }
    const std::string& text = node.Scalar();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL: {
        bool value = false;
        if (!absl::SimpleAtob(text, &value)) break;
        return Json(value);
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        // As flags take them: "4.6GB".
        if (absl::EndsWith(field.name(), "_bytes")) return Bytes(node);
        int64_t value = 0;
        if (!absl::SimpleAtoi(text, &value)) break;
        return Json(value);
      }
      case FieldDescriptor::CPPTYPE_ENUM:
        return EnumName(node, *field.enum_type());
      default:
        return Json(text);
    }
    return InvalidSpec(absl::StrCat(Where(node), ": \"", field.name(),
                                    "\" is not a ", field.cpp_type_name(),
                                    ": \"", text.substr(0, 100), "\""));
  }

  static absl::StatusOr<Json> Bytes(const YAML::Node& node) {
    const absl::StatusOr<int64_t> bytes = ParseBytes(node.Scalar());
    if (!bytes.ok()) return Annotate(bytes.status(), Where(node));
    return Json(*bytes);
  }

  // "skip" for ON_MISMATCH_SKIP.
  static absl::StatusOr<Json> EnumName(const YAML::Node& node,
                                       const EnumDescriptor& type) {
    const std::string text = absl::AsciiStrToUpper(node.Scalar());
    std::vector<std::string> known;
    for (int i = 0; i < type.value_count(); ++i) {
      const std::string& name = type.value(i)->name();
      if (name == text || absl::EndsWith(name, "_" + text)) return Json(name);
      if (i > 0) {
        known.push_back(
            absl::AsciiStrToLower(name.substr(name.rfind('_') + 1)));
      }
    }
    return Annotate(UnknownNameError("value", node.Scalar(), known),
                    Where(node));
  }

  int nodes_ = 0;
};

absl::StatusOr<YAML::Node> LoadYaml(absl::string_view text) {
  // yaml-cpp reports errors by exceptions; they end here.
  try {
    return YAML::Load(std::string(text));
  } catch (const YAML::Exception& error) {
    return InvalidSpec(absl::StrCat("recipe file, line ", error.mark.line + 1,
                                    ": ", error.msg));
  }
}

// Not a bare recipe: no key is in both.
bool IsRecipeFile(const YAML::Node& root) {
  const Descriptor& type = *v1::RecipeFile::descriptor();
  for (const auto& item : root) {
    const std::string key = item.first.Scalar();
    if (type.FindFieldByName(key) != nullptr ||
        type.FindFieldByCamelcaseName(key) != nullptr) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<v1::RecipeFile> Parse(const YAML::Node& root) {
  if (!root.IsMap()) {
    return InvalidSpec(
        "recipe file: needs keys and values, e.g. scheme: W4A16");
  }
  const bool whole = IsRecipeFile(root);
  Converter converter;
  QUANT_ASSIGN_OR_RETURN(
      Json json, converter.Message(root, whole ? *v1::RecipeFile::descriptor()
                                               : *v1::Recipe::descriptor()));
  if (!whole) json = Json{{"recipe", std::move(json)}};
  v1::RecipeFile file;
  const auto status = google::protobuf::util::JsonStringToMessage(
      json.dump(-1, ' ', false, Json::error_handler_t::replace), &file);
  if (!status.ok()) {
    return InvalidSpec(
        absl::StrCat("recipe file: ", std::string(status.message())));
  }
  if (file.has_recipe() && file.outputs_size() > 0) {
    return InvalidSpec("recipe file: give recipe or outputs, not both");
  }
  return file;
}

}  // namespace

absl::StatusOr<v1::RecipeFile> ParseRecipeFile(absl::string_view text) {
  if (text.size() > kMaxRecipeBytes) {
    return InvalidSpec(absl::StrCat("recipe file: ", text.size(),
                                    " bytes; at most ", kMaxRecipeBytes));
  }
  QUANT_ASSIGN_OR_RETURN(const YAML::Node root, LoadYaml(text));
  // Access to odd documents (a map as a key) throws, too.
  try {
    return Parse(root);
  } catch (const YAML::Exception& error) {
    return InvalidSpec(absl::StrCat("recipe file, line ", error.mark.line + 1,
                                    ": ", error.msg));
  }
}

}  // namespace quant
