#include "core/evaluate/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/evaluate/distributions.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

// Logits in memory at a time.
constexpr int64_t kLogitBytes = int64_t{64} << 20;

int64_t RowsAtATime(int64_t vocabulary) {
  return std::clamp<int64_t>(
      kLogitBytes / (vocabulary * static_cast<int64_t>(sizeof(float))), 1,
      4096);
}

class Measure {
 public:
  Measure(const Sequences& sequences, RanNetwork& model, RanNetwork* reference)
      : sequences_(sequences),
        vocabulary_(model.config().vocabulary),
        model_(model),
        reference_(reference) {
    const int64_t count = sequences.count() * (sequences.length - 1);
    figures_.nll.resize(count);
    if (reference == nullptr) return;
    figures_.reference_nll.resize(count);
    figures_.kl.resize(count);
    figures_.agrees.resize(count);
  }

  absl::Status Run(const RunOptions& options) {
    const int64_t total = sequences_.count() * sequences_.length;
    const int64_t step = RowsAtATime(vocabulary_);
    for (int64_t first = 0; first < total; first += step) {
      if (options.stop.stop_requested()) {
        return absl::CancelledError("evaluation: stopped");
      }
      const int64_t rows = std::min(step, total - first);
      QUANT_RETURN_IF_ERROR(model_.Fill(*options.pool, first, rows));
      if (reference_ != nullptr) {
        QUANT_RETURN_IF_ERROR(reference_->Fill(*options.pool, first, rows));
      }
      ParallelFor(*options.pool, rows,
                  [&](int64_t r) { MeasureRow(first + r, r); });
    }
    return absl::OkStatus();
  }

  Figures& figures() { return figures_; }

 private:
  // Row `at` of all, `r` of those whose logits are there.
  void MeasureRow(int64_t at, int64_t r) {
    const int64_t position = at % sequences_.length;
    if (position == sequences_.length - 1) return;  // predicts nothing
    const int64_t index =
        at / sequences_.length * (sequences_.length - 1) + position;
    const int32_t next = sequences_.tokens[at + 1];
    const float* q = model_.logits() + r * vocabulary_;
    const double q_sum = LogSumExp(q, vocabulary_);
    figures_.nll[index] = q_sum - q[next];
    if (reference_ == nullptr) return;
    const float* p = reference_->logits() + r * vocabulary_;
    const double p_sum = LogSumExp(p, vocabulary_);
    figures_.reference_nll[index] = p_sum - p[next];
    figures_.kl[index] = KlDivergence(p, p_sum, q, q_sum, vocabulary_);
    figures_.agrees[index] = ArgMax(p, vocabulary_) == ArgMax(q, vocabulary_);
  }

  const Sequences sequences_;
  const int64_t vocabulary_;
  RanNetwork& model_;
  RanNetwork* reference_;
  Figures figures_;
};

double MeanOf(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(values.size());
}

Divergence DivergenceOf(const Figures& figures) {
  std::vector<double> sorted = figures.kl;
  std::sort(sorted.begin(), sorted.end());
  Divergence out;
  out.mean = MeanOf(figures.kl);
  out.median = Percentile(sorted, 0.5);
  out.p90 = Percentile(sorted, 0.9);
  out.p99 = Percentile(sorted, 0.99);
  out.max = sorted.back();
  out.top1_agreement = static_cast<double>(std::count(
                           figures.agrees.begin(), figures.agrees.end(), 1)) /
                       static_cast<double>(figures.agrees.size());
  return out;
}

absl::StatusOr<Sequences> Windows(absl::Span<const int32_t> tokens,
                                  int64_t length) {
  if (length < 2 || length > kMaxSequenceLength) {
    return InvalidSpec(absl::StrCat("sequence length: ", length, "; 2 to ",
                                    kMaxSequenceLength, " are allowed"));
  }
  const int64_t windows = static_cast<int64_t>(tokens.size()) / length;
  if (windows == 0) {
    return InvalidSpec(absl::StrCat(
        "evaluation: ", tokens.size(), " tokens; a window has ", length,
        "; a smaller --sequence-length or more text is needed"));
  }
  return Sequences{.tokens = tokens.subspan(0, windows * length),
                   .length = length};
}

absl::Status CheckPair(const NetworkConfig& model,
                       const NetworkConfig& reference) {
  if (reference.vocabulary == model.vocabulary) return absl::OkStatus();
  return InvalidSpec(absl::StrCat("reference: a vocabulary of ",
                                  reference.vocabulary,
                                  "; the model has one of ", model.vocabulary,
                                  ", and only equal ones can be compared"));
}

}  // namespace

absl::StatusOr<Figures> Compare(const Sequences& sequences,
                                RanNetworks& networks,
                                const RunOptions& options) {
  RanNetwork* reference = networks.reference ? &*networks.reference : nullptr;
  if (reference != nullptr) {
    QUANT_RETURN_IF_ERROR(
        CheckPair(networks.model.config(), reference->config()));
  }
  Measure measure(sequences, networks.model, reference);
  QUANT_RETURN_IF_ERROR(measure.Run(options));
  measure.figures().layers = networks.layers;
  return std::move(measure.figures());
}

int64_t ComparisonBytes(const NetworkConfig& config) {
  return RowsAtATime(config.vocabulary) * (config.vocabulary + config.hidden) *
         static_cast<int64_t>(sizeof(float));
}

Evaluation Summarize(const Figures& figures, int64_t sequence_length) {
  Evaluation result;
  result.predicted_tokens = static_cast<int64_t>(figures.nll.size());
  result.windows = result.predicted_tokens / (sequence_length - 1);
  result.sequence_length = sequence_length;
  result.nll = MeanOf(figures.nll);
  result.perplexity = std::exp(result.nll);
  if (!figures.reference_nll.empty()) {
    result.reference_nll = MeanOf(figures.reference_nll);
    result.reference_perplexity = std::exp(*result.reference_nll);
    result.divergence = DivergenceOf(figures);
  }
  result.layers = figures.layers;
  return result;
}

int64_t DefaultSequenceLength(const NetworkConfig& config) {
  return std::min<int64_t>(config.max_positions, 2048);
}

std::vector<std::pair<std::string, double>> Evaluation::Metrics() const {
  std::vector<std::pair<std::string, double>> out = {
      {"windows", static_cast<double>(windows)},
      {"sequence_length", static_cast<double>(sequence_length)},
      {"predicted_tokens", static_cast<double>(predicted_tokens)},
      {"nll", nll},
      {"perplexity", perplexity}};
  if (reference_nll) {
    out.emplace_back("reference_nll", *reference_nll);
    out.emplace_back("reference_perplexity", *reference_perplexity);
    out.emplace_back("perplexity_ratio", perplexity / *reference_perplexity);
    out.emplace_back("perplexity_delta", perplexity - *reference_perplexity);
  }
  if (divergence) {
    out.emplace_back("kl_mean", divergence->mean);
    out.emplace_back("kl_median", divergence->median);
    out.emplace_back("kl_p90", divergence->p90);
    out.emplace_back("kl_p99", divergence->p99);
    out.emplace_back("kl_max", divergence->max);
    out.emplace_back("top1_agreement", divergence->top1_agreement);
  }
  return out;
}

absl::StatusOr<Evaluation> Evaluate(const Network& model,
                                    const Network* reference,
                                    absl::Span<const int32_t> tokens,
                                    const EvaluateOptions& options) {
  const int64_t length = options.sequence_length > 0
                             ? options.sequence_length
                             : DefaultSequenceLength(model.config());
  QUANT_ASSIGN_OR_RETURN(const Sequences sequences, Windows(tokens, length));
  if (reference != nullptr) {
    QUANT_RETURN_IF_ERROR(CheckPair(model.config(), reference->config()));
  }
  QUANT_ASSIGN_OR_RETURN(RanNetworks networks,
                         RunNetworks(model, reference, sequences, options.run));
  QUANT_ASSIGN_OR_RETURN(const Figures figures,
                         Compare(sequences, networks, options.run));
  return Summarize(figures, length);
}

}  // namespace quant
