// The nearest thing that a loader takes: of all presets, with the group sizes
// that loaders know, in all formats, the one that differs least.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "core/artifact/format.h"
#include "core/artifact/loader.h"

namespace quant {
namespace {

// What a difference counts. Numbers of bits come first, since they are the size
// of the result; quantized activations can't stand for plain ones.
constexpr int kPerBit = 8;
constexpr int kActivations = 20;
constexpr int kOtherActivations = 6;
constexpr int kStaticActivations = 2;
constexpr int kOtherType = 6;
constexpr int kSymmetry = 4;
constexpr int kGranularity = 4;
constexpr int kOtherFormat = 3;
constexpr int kOnlyPartly = 12;
constexpr int kCast = 100;

struct Alternative {
  Scheme scheme;
  bool as_named = true;  // the preset's own groups
  absl::string_view format = {};
};

// Between tokens and groups of FP8 there is none: the weights say which.
int ActivationDistance(Activations a, Activations b) {
  if (a == b) return 0;
  if (a == Activations::kNone || b == Activations::kNone) return kActivations;
  if (IsInt8(a) != IsInt8(b)) return kOtherActivations;
  return IsStatic(a) == IsStatic(b) ? 0 : kStaticActivations;
}

int Distance(const Scheme& asked, const Scheme& other) {
  int distance = kPerBit * std::abs(asked.bits - other.bits);
  if (asked.is_cast() != other.is_cast()) distance += kCast;
  distance += ActivationDistance(asked.activations, other.activations);
  if (asked.type != other.type || asked.scales != other.scales) {
    distance += kOtherType;
  }
  if (asked.symmetric != other.symmetric) distance += kSymmetry;
  if (asked.granularity != other.granularity) {
    distance += kGranularity;
  } else if (asked.granularity == Granularity::kGroup &&
             asked.group_size != other.group_size) {
    const double ratio = static_cast<double>(asked.group_size) /
                         static_cast<double>(other.group_size);
    distance += std::min(kGranularity,
                         1 + static_cast<int>(std::abs(std::log2(ratio)) / 2));
  }
  return distance;
}

// A preset as it is, and where groups are a choice, with others.
std::vector<Alternative> Variants(const Scheme& preset) {
  std::vector<Alternative> variants = {{.scheme = preset}};
  if (preset.type != NumberType::kInt || preset.scales != ScaleKind::kFloat) {
    return variants;
  }
  for (int64_t group : {32, 64, 128, 0}) {
    Alternative& other = variants.emplace_back(Alternative{.scheme = preset});
    other.scheme.granularity =
        group > 0 ? Granularity::kGroup : Granularity::kChannel;
    other.scheme.group_size = group;
    other.as_named = false;
  }
  return variants;
}

std::string Text(const Alternative& other) {
  const std::string groups =
      other.as_named ? ""
      : other.scheme.granularity == Granularity::kChannel
          ? " with group size channel"
          : absl::StrCat(" with group size ", other.scheme.group_size);
  return absl::StrCat("scheme \"", other.scheme.name, "\"", groups,
                      " in format \"", other.format, "\"");
}

}  // namespace

std::string LoaderCheck::Nearest(const Scheme& scheme) const {
  std::string nearest;
  int least = 0;
  for (const Preset& preset : Presets()) {
    if (!preset.unavailable.empty()) continue;
    for (Alternative& other : Variants(preset.scheme)) {
      for (const FormatInfo& format : Formats()) {
        if (format.name == "dequantized") continue;  // floats, whatever scheme
        const LoaderCheck check(loader_, ranks_, format.name);
        const Verdict verdict = check.Takes(other.scheme);
        if (verdict == Verdict::kNo) continue;
        const auto found = FindFormat(format.name);
        if (!found.ok() || !(*found)->CheckScheme(other.scheme).ok() ||
            !MakeCodec(other.scheme).ok()) {
          continue;
        }
        const int distance = Distance(scheme, other.scheme) +
                             (verdict == Verdict::kPartly ? kOnlyPartly : 0) +
                             (format.name == format_ ? 0 : kOtherFormat) +
                             (other.as_named ? 0 : 1);
        if (!nearest.empty() && distance >= least) continue;
        other.format = format.name;
        nearest = Text(other);
        least = distance;
      }
    }
  }
  return nearest;
}

}  // namespace quant
