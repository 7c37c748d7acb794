// How well a network predicts text, and how far it is from another one.
//
//   nll   mean of -ln p(next token) over positions 0 .. T - 2 of every window
//   perplexity = exp(nll)
//   KL    sum_v p(v) ln(p(v) / q(v)) per position, p of the reference, q of the
//         model; mean, and percentiles by nearest rank
//   top-1 share of positions where both find the same token likeliest
//
// Windows are consecutive, do not overlap, and each begins with nothing before
// it; what is left at the end of the text is not used. Log-softmax in double.
//
// Legend: W windows, T positions of each, V vocabulary.
#ifndef QUANT_CORE_EVALUATE_EVALUATE_H_
#define QUANT_CORE_EVALUATE_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/evaluate/ran_networks.h"
#include "core/network/network.h"

namespace quant {

struct EvaluateOptions {
  int64_t sequence_length = 0;  // T; 0: DefaultSequenceLength of the model
  RunOptions run;
};

struct Divergence {
  double mean = 0;
  double median = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
  double top1_agreement = 0;  // 0..1
};

struct Evaluation {
  int64_t windows = 0;
  int64_t sequence_length = 0;
  int64_t predicted_tokens = 0;  // W (T - 1)
  double nll = 0;
  double perplexity = 0;
  // With a reference only.
  std::optional<double> reference_nll;
  std::optional<double> reference_perplexity;
  std::optional<Divergence> divergence;
  std::vector<LayerFigures> layers;

  // Name and value of every figure, in a fixed order: "perplexity",
  // "perplexity_ratio", "perplexity_delta", "kl_mean", ...
  std::vector<std::pair<std::string, double>> Metrics() const;
};

// The model's own context, at most 2048.
int64_t DefaultSequenceLength(const NetworkConfig& config);

// What is known of every position that predicts a token, one window after the
// other.
struct Figures {
  std::vector<double> nll;
  // With a reference only.
  std::vector<double> reference_nll;
  std::vector<double> kl;
  std::vector<uint8_t> agrees;
  // Of the model, in sums over all positions.
  std::vector<LayerFigures> layers;
};

// Steps of Evaluate, for those who keep figures between them: networks that ran
// over the windows are compared, and the figures of all windows, in their
// order, summed up. Windows may be split wherever BlockPasses cuts batches:
// figures of positions are then the same bits.
absl::StatusOr<Figures> Compare(const Sequences& sequences,
                                RanNetworks& networks,
                                const RunOptions& options);
// Bound on what a network and Compare take beside weights and hidden states.
int64_t ComparisonBytes(const NetworkConfig& config);
Evaluation Summarize(const Figures& figures, int64_t sequence_length);

// `reference` may be null. INVALID_ARGUMENT when there are fewer tokens than
// one window, a token is beyond a vocabulary, or vocabularies differ.
absl::StatusOr<Evaluation> Evaluate(const Network& model,
                                    const Network* reference,
                                    absl::Span<const int32_t> tokens,
                                    const EvaluateOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_EVALUATE_EVALUATE_H_
