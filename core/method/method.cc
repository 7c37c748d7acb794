#include "core/method/method.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/names.h"

namespace quant {

#define QUANT_METHOD(name, factory, description) const QuantMethod& factory();
#include "core/method/methods.def"
#undef QUANT_METHOD

void ErrorSums::Add(const ErrorSums& other) {
  noise += other.noise;
  signal += other.signal;
  max_abs_error = std::max(max_abs_error, other.max_abs_error);
  overflow += other.overflow;
  underflow += other.underflow;
}

double ErrorSums::sqnr_db() const {
  if (noise == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(signal / noise);
}

std::vector<MethodInfo> Methods() {
  return {
#define QUANT_METHOD(name, factory, description) {name, description},
#include "core/method/methods.def"
#undef QUANT_METHOD
  };
}

absl::StatusOr<const QuantMethod*> FindMethod(absl::string_view name) {
#define QUANT_METHOD(known, factory, description) \
  if (name == known) return &factory();
#include "core/method/methods.def"
#undef QUANT_METHOD
  std::vector<std::string> known;
  for (const MethodInfo& info : Methods()) known.emplace_back(info.name);
  return UnknownNameError("method", name, known);
}

absl::Status CheckTakesOption(absl::string_view method,
                              absl::string_view option) {
  std::string takers;
  for (const MethodInfo& info : Methods()) {
    const auto options = (*FindMethod(info.name))->Options();
    if (std::count(options.begin(), options.end(), option) == 0) continue;
    if (info.name == method) return absl::OkStatus();
    absl::StrAppend(&takers, takers.empty() ? "" : ", ", "\"", info.name, "\"");
  }
  return InvalidSpec(absl::StrCat(option, ": is nothing that method \"", method,
                                  "\" can do; leave it out, or use ", takers),
                     absl::StrCat("calibrated.", option));
}

absl::Status CheckGroupedIntegers(absl::string_view method,
                                  absl::string_view does,
                                  const Scheme& scheme) {
  absl::string_view nearest;
  if (scheme.type != NumberType::kInt || scheme.scales != ScaleKind::kFloat) {
    nearest = scheme.bits <= 4 ? "W4A16" : "W8A16";
  } else if (scheme.granularity != Granularity::kGroup &&
             scheme.granularity != Granularity::kChannel) {
    nearest = "the same with group size 128 or \"channel\"";
  } else {
    return absl::OkStatus();
  }
  return MakeError(
      absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
      absl::StrCat("method \"", method, "\": scheme \"", scheme.name, "\" (",
                   DescribeScheme(scheme), "); ", does,
                   ", one per group or row; the nearest is ", nearest,
                   ", or method \"rtn\""));
}

}  // namespace quant
