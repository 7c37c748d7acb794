#include "core/artifact/quant_settings.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

using nlohmann::json;

constexpr int kMaxBits = 8;
constexpr int64_t kMaxBlock = 1 << 16;

bool IsSettingsFile(absl::string_view name) {
  return name == "quantize_config.json" || name == "quant_config.json";
}

std::string TextOf(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

absl::StatusOr<json> ParseObject(absl::string_view text,
                                 const std::string& name) {
  json parsed = json::parse(text.begin(), text.end(), nullptr, false);
  if (parsed.is_object()) return parsed;
  return ModelMalformed(absl::StrCat(name, ": is not a JSON object"));
}

// The settings, or null.
absl::StatusOr<json> FindSettings(const ModelReader& model) {
  if (!model.config_json().empty()) {
    QUANT_ASSIGN_OR_RETURN(const json config,
                           ParseObject(model.config_json(), "config.json"));
    for (const char* key : {"quantization_config", "compression_config"}) {
      const auto it = config.find(key);
      if (it != config.end() && it->is_object()) return *it;
    }
  }
  if (!IsDirectory(model.path())) return json();
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(model.path()));
  for (const DirEntry& file : entries) {
    if (!IsSettingsFile(file.name) || !file.is_regular) continue;
    QUANT_ASSIGN_OR_RETURN(
        const std::string text,
        ReadFile(JoinPath(model.path(), file.name), kMaxConfigBytes));
    QUANT_ASSIGN_OR_RETURN(json settings, ParseObject(text, file.name));
    // The files of AutoAWQ and AutoGPTQ don't say whose they are.
    if (!settings.contains("quant_method")) {
      settings["quant_method"] = settings.contains("w_bit") ? "awq" : "gptq";
    }
    return settings;
  }
  return json();
}

void AddBits(const json& object, const char* key, std::set<int>& bits) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number_integer()) return;
  const int64_t value = it->get<int64_t>();
  if (value >= 1 && value <= kMaxBits) bits.insert(static_cast<int>(value));
}

absl::Status Unread(absl::string_view what) {
  return MakeError(absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
                   absl::StrCat("quantization_config: ", what));
}

// Text of a setting, for an error.
std::string Quoted(const std::string& value) {
  return absl::StrCat("\"", value.substr(0, 100), "\"");
}

absl::Status ReadGptq(const json& settings, QuantSettings& out) {
  std::string version = TextOf(settings, "checkpoint_format");
  if (version.empty()) version = TextOf(settings, "format");
  out.format = version.empty() ? "gptq" : version;
  if (out.format != "gptq" && out.format != "gptq_v2") {
    return Unread(absl::StrCat("GPTQ's checkpoint_format ", Quoted(version),
                               " is not read; gptq and gptq_v2 are"));
  }
  const std::string words = TextOf(settings, "pack_dtype");
  if (!words.empty() && words != "int32") {
    return Unread(absl::StrCat("GPTQ's pack_dtype ", Quoted(words),
                               " is not read; int32 is"));
  }
  AddBits(settings, "bits", out.bits);
  const auto dynamic = settings.find("dynamic");
  if (dynamic == settings.end() || !dynamic->is_object()) {
    return absl::OkStatus();
  }
  for (const auto& item : dynamic->items()) {
    if (item.value().is_object()) AddBits(item.value(), "bits", out.bits);
  }
  return absl::OkStatus();
}

// Other versions pack along other dimensions, with the same names and types.
absl::Status ReadAwq(const json& settings) {
  const std::string version =
      absl::AsciiStrToLower(TextOf(settings, "version"));
  if (version.empty() || version == "gemm") return absl::OkStatus();
  return Unread(
      absl::StrCat("AWQ's version ", Quoted(version), " is not read; gemm is"));
}

// Values are packed densely since 0.17.
QuantSettings::Packing PackingOf(const std::string& version) {
  const std::vector<std::string> parts = absl::StrSplit(version, '.');
  int major = 0, minor = 0;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &major) ||
      !absl::SimpleAtoi(parts[1], &minor)) {
    return QuantSettings::Packing::kUnknown;
  }
  return major > 0 || minor >= 17 ? QuantSettings::Packing::kDense
                                  : QuantSettings::Packing::kLoose;
}

bool IsSet(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && !it->is_null() && !it->empty();
}

// One of the kinds that we have, or nothing.
std::optional<Activations> KindOf(const json& args) {
  const std::string type = TextOf(args, "type");
  const bool integer = type == "int" || type.empty();
  const std::string strategy = TextOf(args, "strategy");
  const bool dynamic = args.value("dynamic", json()) == true;
  const bool fixed = args.value("dynamic", json()) == false;
  if (args.value("num_bits", json()) != 8 ||
      args.value("symmetric", json(true)) != true ||
      (!integer && type != "float")) {
    return std::nullopt;
  }
  if (dynamic && strategy == "token") {
    return integer ? Activations::kInt8TokenDynamic
                   : Activations::kFp8TokenDynamic;
  }
  if (fixed && strategy == "tensor") {
    return integer ? Activations::kInt8TensorStatic
                   : Activations::kFp8TensorStatic;
  }
  if (dynamic && strategy == "group" && !integer &&
      args.value("group_size", json()) == 128) {
    return Activations::kFp8Group128Dynamic;
  }
  return std::nullopt;
}

QuantSettings::Inputs InputsOf(const std::string& where, const json& group) {
  QuantSettings::Inputs inputs;
  const auto targets = group.find("targets");
  if (targets != group.end() && targets->is_array()) {
    for (const json& target : *targets) {
      if (target.is_string()) {
        inputs.targets.push_back(target.get<std::string>());
      }
    }
  }
  if (!IsSet(group, "input_activations")) return inputs;
  const auto kind = group["input_activations"].is_object()
                        ? KindOf(group["input_activations"])
                        : std::nullopt;
  if (kind) {
    inputs.kind = *kind;
  } else {
    inputs.unread = absl::StrCat(where, ".input_activations");
  }
  return inputs;
}

void ReadGroups(const json& groups, QuantSettings& out) {
  for (const auto& item : groups.items()) {
    const json& group = item.value();
    if (!group.is_object()) continue;
    const std::string where =
        absl::StrCat("config_groups.", item.key().substr(0, 100));
    for (const char* key : {"input_activations", "output_activations"}) {
      if (IsSet(group, key)) out.also_quantized = absl::StrCat(where, ".", key);
    }
    out.inputs.push_back(InputsOf(where, group));
    const auto weights = group.find("weights");
    if (weights == group.end() || !weights->is_object()) continue;
    AddBits(*weights, "num_bits", out.bits);
  }
}

absl::Status ReadCompressedTensors(const json& settings, QuantSettings& out) {
  if (IsSet(settings, "transform_config")) {
    return Unread(
        "transform_config: weights that were rotated before they were "
        "quantized are not read");
  }
  out.packing = PackingOf(TextOf(settings, "version"));
  if (IsSet(settings, "kv_cache_scheme")) {
    out.also_quantized = "kv_cache_scheme";
  }
  const auto groups = settings.find("config_groups");
  if (groups != settings.end() && groups->is_object()) {
    ReadGroups(*groups, out);
  }
  return absl::OkStatus();
}

// Scales per tensor go with tokens, those of blocks with groups.
void ReadFp8Inputs(const json& settings, QuantSettings& out) {
  QuantSettings::Inputs inputs{.targets = {"Linear"}};
  if (TextOf(settings, "activation_scheme") == "static") {
    inputs.kind = Activations::kFp8TensorStatic;
  } else {
    inputs.kind = out.block_rows > 0 ? Activations::kFp8Group128Dynamic
                                     : Activations::kFp8TokenDynamic;
  }
  out.inputs.push_back(std::move(inputs));
}

absl::Status ReadBlocks(const json& settings, QuantSettings& out) {
  const auto it = settings.find("weight_block_size");
  if (it == settings.end() || it->is_null()) return absl::OkStatus();
  const auto good = [](const json& size) {
    return size.is_number_integer() && size.get<int64_t>() >= 1 &&
           size.get<int64_t>() <= kMaxBlock;
  };
  if (!it->is_array() || it->size() != 2 || !good((*it)[0]) ||
      !good((*it)[1])) {
    return ModelMalformed(
        "quantization_config: weight_block_size is not two sizes");
  }
  out.block_rows = (*it)[0].get<int64_t>();
  out.block_cols = (*it)[1].get<int64_t>();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<QuantSettings> ReadQuantSettings(const ModelReader& model) {
  QUANT_ASSIGN_OR_RETURN(const json settings, FindSettings(model));
  QuantSettings out;
  if (settings.is_null()) return out;
  const std::string method = TextOf(settings, "quant_method");
  if (method == "gptq") {
    QUANT_RETURN_IF_ERROR(ReadGptq(settings, out));
    return out;
  }
  if (method != "awq" && method != "bitsandbytes" && method != "fp8" &&
      method != "compressed-tensors") {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, Reason::kUnsupported,
        absl::StrCat(model.path(), ": quant_method ", Quoted(method),
                     " is not read; awq, bitsandbytes, compressed-tensors, "
                     "fp8 and gptq are"));
  }
  out.format = method;
  if (method == "awq") QUANT_RETURN_IF_ERROR(ReadAwq(settings));
  if (method == "compressed-tensors") {
    QUANT_RETURN_IF_ERROR(ReadCompressedTensors(settings, out));
  }
  if (method == "fp8") {
    QUANT_RETURN_IF_ERROR(ReadBlocks(settings, out));
    ReadFp8Inputs(settings, out);
  }
  return out;
}

bool IsFreeText(absl::string_view tensor) {
  return absl::StrContains(tensor, ".quant_state.bitsandbytes__");
}

}  // namespace quant
