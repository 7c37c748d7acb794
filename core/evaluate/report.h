// What quantizing did to a model, for people and for programs: report.json, and
// report.html, which needs nothing beside itself.
//
// Both are as long as numbers need; with the longest numbers in every place
// (LongestNumbers) they are as long as they can ever be, and what is missing to
// `least_bytes` is made up by spaces. So their sizes are known before any work.
// No timestamps: the same facts are the same bytes.
#ifndef QUANT_CORE_EVALUATE_REPORT_H_
#define QUANT_CORE_EVALUATE_REPORT_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace quant {

struct ReportTensor {
  std::string name;
  std::string role;
  int64_t layer = -1;  // -1: of none
  std::string scheme;  // empty: copied
  std::string method;
  std::string reason;
  double bits_per_weight = 0;
  int64_t bytes = 0;
  int64_t weights = 0;
  // Of quantized ones.
  double noise = 0;   // sum of (x_hat - x)^2
  double signal = 0;  // sum of x^2
  double max_abs_error = 0;
};

// Weights of all quantized tensors of a role, in parts of their tensor's root
// mean square: bins of equal width over [-kHistogramRange, kHistogramRange],
// with what lies outside in the first and the last. Of some rows of each.
inline constexpr int kHistogramBins = 48;
inline constexpr double kHistogramRange = 6;
struct ReportHistogram {
  std::string role;
  std::array<int64_t, kHistogramBins> source = {};
  std::array<int64_t, kHistogramBins> made = {};
};

// A block over the evaluation text: its output against the source's, and what
// its experts saw.
struct ReportLayer {
  double noise = 0;
  double signal = 0;
  std::vector<int64_t> expert_tokens;  // empty in dense blocks
};

struct ReportFigure {
  std::string name;
  double value = 0;
};

struct ReportVerdict {
  std::string gate;
  double value = 0;
  bool passed = false;
};

struct Report {
  std::string engine_version;
  std::string output;
  std::string recipe_json;
  int64_t total_bytes = 0;
  double bits_per_weight = 0;
  std::vector<ReportTensor> tensors;
  std::vector<ReportHistogram> histograms;  // by role
  std::vector<ReportFigure> evaluation;     // empty: not evaluated
  std::vector<ReportLayer> layers;          // of the evaluation
  std::vector<ReportVerdict> gates;
};

// No number takes more characters, as JSON or with six digits.
inline constexpr double kLongestNumber = -2.2250738585072014e-308;

// Every number that work finds out becomes one that takes the most characters.
void LongestNumbers(Report& report);

std::string ReportToJson(const Report& report, int64_t least_bytes = 0);
std::string ReportToHtml(const Report& report, int64_t least_bytes = 0);

}  // namespace quant

#endif  // QUANT_CORE_EVALUATE_REPORT_H_
