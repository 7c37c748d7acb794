// SmoothQuant: activations that are rounded at run time share a scale per
// token, which a few columns with large values waste. These are made smaller,
// and the columns of weights that meet them larger, half way by default:
//
//   s_i = max|x_i|^a / max|w_i|^(1 - a)     over tokens, and over all weights
//                                           with these inputs
//
// Weights are then rounded to nearest.
//
// Source: Xiao, Lin, Seznec, Wu, Demouth and Han, "SmoothQuant: Accurate and
// Efficient Post-Training Quantization for Large Language Models", 2022,
// equation 4.
//
// What differs here: the inputs of o and down are divided, too, where something
// before them can take it; and columns that share a factor have the largest
// magnitudes of all of them.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/method/input_scales.h"
#include "core/method/method.h"

namespace quant {

const QuantMethod& RtnMethod();  // methods.def

namespace {

class SmoothQuant final : public QuantMethod {
 public:
  Statistics Needs() const override { return Statistics::kRanges; }
  bool ScalesInputs() const override { return true; }
  std::vector<absl::string_view> Options() const override {
    return {"smoothing"};
  }

  absl::Status Check(const Scheme& scheme) const override {
    QUANT_RETURN_IF_ERROR(CheckGroupedIntegers(
        "smoothquant", "it is for integers on both sides", scheme));
    if (IsInt8(scheme.activations)) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kInvalidArgument, Reason::kUnsupported,
        absl::StrCat("method \"smoothquant\": scheme \"", scheme.name, "\" (",
                     DescribeScheme(scheme),
                     ") leaves activations as they are; the nearest is W8A8, "
                     "or method \"awq\""));
  }

  std::vector<float> InputScales(ThreadPool& pool,
                                 const CalibratedOptions& options,
                                 const InputView& inputs) const override {
    const int64_t n = inputs.hessian.n;
    std::vector<double> x(inputs.absmax.begin(), inputs.absmax.end());
    std::vector<double> w(n);
    for (const WeightView& weight : inputs.weights) {
      for (int64_t i = 0; i < weight.rows * n; ++i) {
        w[i % n] = std::max<double>(w[i % n], std::fabs(weight.x[i]));
      }
    }
    MaximaOfTied(inputs.ties, x);
    MaximaOfTied(inputs.ties, w);
    const double a = options.smoothing;
    std::vector<double> factors(n);
    for (int64_t i = 0; i < n; ++i) {
      if (w[i] > 0) factors[i] = std::pow(x[i], a) / std::pow(w[i], 1 - a);
    }
    return CenteredFactors(factors);
  }

  ErrorSums Quantize(const Codec& codec, const MethodOptions& options,
                     const TensorStats& stats, const float* x, int64_t rows,
                     int64_t cols, CodeTile& out,
                     MethodScratch& scratch) const override {
    return RtnMethod().Quantize(codec, options, stats, x, rows, cols, out,
                                scratch);
  }
};

}  // namespace

const QuantMethod& SmoothQuantMethod() {
  static const SmoothQuant method;
  return method;
}

}  // namespace quant
