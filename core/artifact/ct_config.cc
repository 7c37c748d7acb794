#include "core/artifact/ct_config.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/artifact/config_json.h"
#include "core/artifact/module_lists.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// The library version whose file layout we write.
constexpr char kCtVersion[] = "0.18.0";

absl::string_view Strategy(Granularity granularity) {
  return GranularityName(granularity);
}

OrderedJson WeightArgs(const Scheme& scheme) {
  OrderedJson args;
  args["actorder"] = nullptr;
  if (scheme.act_order) args["actorder"] = "group";
  args["block_structure"] = nullptr;
  if (scheme.granularity == Granularity::kBlock) {
    args["block_structure"] = {scheme.block_rows, scheme.block_cols};
  }
  args["dynamic"] = false;
  args["group_size"] = nullptr;
  if (scheme.granularity == Granularity::kGroup) {
    args["group_size"] = scheme.group_size;
  }
  args["num_bits"] = scheme.bits;
  args["observer"] = "minmax";
  args["observer_kwargs"] = OrderedJson::object();
  // Readers of before these scales refuse the key.
  if (scheme.scales == ScaleKind::kE4M3) {
    args["scale_dtype"] = "torch.float8_e4m3fn";
  } else if (scheme.scales == ScaleKind::kE8M0) {
    args["scale_dtype"] = "torch.uint8";
  }
  args["strategy"] = scheme.scales == ScaleKind::kE4M3
                         ? "tensor_group"
                         : std::string(Strategy(scheme.granularity));
  args["symmetric"] = scheme.symmetric;
  args["type"] = scheme.type == NumberType::kInt ? "int" : "float";
  return args;
}

OrderedJson ActivationArgs(Activations activations) {
  if (activations == Activations::kNone) return nullptr;
  const bool grouped = activations == Activations::kFp8Group128Dynamic;
  OrderedJson args;
  args["actorder"] = nullptr;
  args["block_structure"] = nullptr;
  const bool fixed = IsStatic(activations);
  args["dynamic"] = !fixed;
  args["group_size"] = nullptr;
  if (grouped) args["group_size"] = 128;
  args["num_bits"] = 8;
  args["observer"] = nullptr;
  if (fixed) args["observer"] = "static_minmax";
  args["observer_kwargs"] = OrderedJson::object();
  args["strategy"] = fixed ? "tensor" : grouped ? "group" : "token";
  args["symmetric"] = true;
  args["type"] = IsInt8(activations) ? "int" : "float";
  return args;
}

// Modules that share one scheme.
struct Group {
  Scheme scheme;
  std::vector<const TensorRole*> modules;
};

std::vector<Group> GroupByScheme(const std::vector<QuantizedModule>& modules) {
  std::vector<Group> groups;
  for (const QuantizedModule& module : modules) {
    if (!module.quantized) continue;
    auto it = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
      return SameNumbers(g.scheme, module.scheme);
    });
    if (it == groups.end()) {
      groups.push_back({module.scheme, {}});
      it = groups.end() - 1;
    }
    it->modules.push_back(&module.role);
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](const Group& a, const Group& b) {
                     return a.modules.size() > b.modules.size();
                   });
  return groups;
}

// Linear modules (in the loaders' sense: anything built as a linear layer) that
// keep their weights.
OrderedJson IgnoreList(const std::vector<QuantizedModule>& modules) {
  OrderedJson ignore = OrderedJson::array();
  for (const QuantizedModule& module : modules) {
    if (module.quantized || !module.role.is_matrix) continue;
    const ModuleClass c = module.role.module_class;
    if (c == ModuleClass::kLinear || c == ModuleClass::kLmHead ||
        c == ModuleClass::kRouter) {
      ignore.push_back(module.role.module);
    }
  }
  return ignore;
}

OrderedJson ConfigGroups(const std::vector<Group>& groups, bool mixed) {
  OrderedJson config_groups = OrderedJson::object();
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    // The base group takes every Linear that has no exact name elsewhere;
    // modules of another class (lm_head) are named.
    OrderedJson targets = OrderedJson::array();
    if (i == 0) targets.push_back("Linear");
    for (const TensorRole* role : group.modules) {
      if (i == 0 && role->module_class == ModuleClass::kLinear) continue;
      targets.push_back(role->module);
    }
    OrderedJson scheme;
    scheme["format"] = nullptr;
    if (mixed) scheme["format"] = std::string(CtFormatOf(group.scheme));
    scheme["input_activations"] = ActivationArgs(group.scheme.activations);
    scheme["output_activations"] = nullptr;
    scheme["targets"] = std::move(targets);
    scheme["weights"] = WeightArgs(group.scheme);
    config_groups[absl::StrCat("group_", i)] = std::move(scheme);
  }
  return config_groups;
}

}  // namespace

absl::string_view CtFormatOf(const Scheme& scheme) {
  if (scheme.scales == ScaleKind::kE4M3) return kNvfp4Quantized;
  if (scheme.scales == ScaleKind::kE8M0) {
    return scheme.is_table() ? kMxfp4Quantized : kMxfp8Quantized;
  }
  const bool activations = scheme.activations != Activations::kNone;
  if (scheme.type == NumberType::kInt) {
    return activations ? kIntQuantized : kPackQuantized;
  }
  return activations ? kFloatQuantized : kNaiveQuantized;
}

absl::Status CheckCtScheme(const Scheme& scheme) {
  const auto refuse = [&](absl::string_view why) {
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("format \"compressed-tensors\" can't carry scheme \"",
                     scheme.name, "\" (", DescribeScheme(scheme), "): ", why));
  };
  if (scheme.is_cast()) {
    return refuse("it is a plain cast; use format \"safetensors\"");
  }
  if (scheme.has_inner_scales()) {
    return refuse("it is a block type of GGUF; use format \"gguf\"");
  }
  if (scheme.type == NumberType::kNF4 || scheme.type == NumberType::kBnbFp4 ||
      scheme.scales == ScaleKind::kRowMax127) {
    return refuse(
        "use format \"bitsandbytes\"; the nearest here are NVFP4A16 "
        "and W8A16");
  }
  const bool small_scales = scheme.scales != ScaleKind::kFloat;
  if (small_scales) return absl::OkStatus();
  if (scheme.type == NumberType::kF8E5M2) {
    return refuse("no loader reads E5M2 weights; the nearest is FP8_DYNAMIC");
  }
  if (IsInt8(scheme.activations) && !scheme.symmetric) {
    return refuse(
        "int8 activations need symmetric weights; the nearest is W8A8");
  }
  if (IsInt8(scheme.activations) && scheme.granularity == Granularity::kGroup) {
    return refuse(
        "int8 activations need scales per channel or tensor; the nearest is "
        "W8A8 without a group size");
  }
  if (scheme.type == NumberType::kF8E4M3 &&
      scheme.granularity == Granularity::kGroup) {
    return refuse(
        "FP8 weights need scales per tensor, channel or block; the nearest are "
        "FP8_DYNAMIC and FP8_BLOCK");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> CtConfig(
    absl::string_view source_config,
    const std::vector<QuantizedModule>& modules) {
  QUANT_ASSIGN_OR_RETURN(OrderedJson config, ParseConfigObject(source_config));
  const std::vector<Group> groups = GroupByScheme(modules);
  bool mixed = false;
  for (const Group& group : groups) {
    mixed |= CtFormatOf(group.scheme) != CtFormatOf(groups[0].scheme);
  }
  OrderedJson quantization;
  quantization["config_groups"] = ConfigGroups(groups, mixed);
  quantization["format"] = groups.empty() ? "dense"
                           : mixed        ? "mixed-precision"
                                   : std::string(CtFormatOf(groups[0].scheme));
  quantization["global_compression_ratio"] = nullptr;
  quantization["ignore"] = IgnoreList(modules);
  quantization["kv_cache_scheme"] = nullptr;
  quantization["quant_method"] = "compressed-tensors";
  quantization["quantization_status"] = "compressed";
  quantization["sparsity_config"] = OrderedJson::object();
  quantization["transform_config"] = OrderedJson::object();
  quantization["version"] = kCtVersion;
  config["quantization_config"] = std::move(quantization);
  return DumpConfig(config);
}

}  // namespace quant
