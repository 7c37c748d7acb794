// Networks after their last block, over some windows: a model, and the
// reference it is compared with, side by side through their blocks.
//
// Legend: V vocabulary, H hidden width, E experts.
#ifndef QUANT_CORE_EVALUATE_RAN_NETWORKS_H_
#define QUANT_CORE_EVALUATE_RAN_NETWORKS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/network/network.h"

namespace quant {

// One network and its head. Refers to the network.
class RanNetwork {
 public:
  // `states`: after the last block.
  static absl::StatusOr<RanNetwork> Create(const Network& network,
                                           HiddenStates states);

  const NetworkConfig& config() const { return network_->config(); }
  // Makes logits() those of these positions: [rows, V].
  absl::Status Fill(ThreadPool& pool, int64_t first, int64_t rows);
  const float* logits() const { return logits_.data(); }

 private:
  RanNetwork(const Network& network, HiddenStates states, Head head)
      : network_(&network),
        states_(std::move(states)),
        head_(std::move(head)) {}

  const Network* network_;
  HiddenStates states_;
  Head head_;
  std::vector<float> hidden_;
  std::vector<float> logits_;
};

// What a block of the model did, over all positions.
struct LayerFigures {
  // Between hidden states [H] after it and those of the reference: sums of
  // (h - h_reference)^2 and of h_reference^2. 0 without a reference, or with
  // one of another shape.
  double noise = 0;
  double signal = 0;
  std::vector<int64_t> expert_tokens;  // [E] positions; empty in dense blocks

  // 10 log10(signal / noise); nothing without noise.
  std::optional<double> SqnrDb() const;
  bool operator==(const LayerFigures&) const = default;
};

// As bytes of this host, for files of a work directory.
std::string PackLayers(const std::vector<LayerFigures>& layers);
// Nothing where those bytes are not of a whole number of layers.
std::optional<std::vector<LayerFigures>> UnpackLayers(absl::string_view bytes);

struct RanNetworks {
  RanNetwork model;
  std::optional<RanNetwork> reference;
  std::vector<LayerFigures> layers;  // of the model
};

// Weights of one block are in memory at a time. `reference` may be null.
// CANCELLED when stopped; goes on from what RunOptions::keep has kept, and
// leaves that to the caller to remove.
absl::StatusOr<RanNetworks> RunNetworks(const Network& model,
                                        const Network* reference,
                                        const Sequences& sequences,
                                        const RunOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_EVALUATE_RAN_NETWORKS_H_
