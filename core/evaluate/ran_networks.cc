#include "core/evaluate/ran_networks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/kernels/error_sums.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

// Hidden states of each network that are compared at a time: far less than
// logits take later.
constexpr int64_t kComparedRows = 256;

// A network on its way through its blocks.
class Run {
 public:
  static absl::StatusOr<Run> Begin(const Network& network,
                                   const Sequences& sequences,
                                   const RunOptions& options) {
    QUANT_RETURN_IF_ERROR(network.CheckSequences(sequences));
    QUANT_ASSIGN_OR_RETURN(HiddenStates states,
                           network.Embed(sequences, options.spill));
    return Run(network, sequences, options, std::move(states));
  }

  int64_t layers() const { return passes_.count(); }
  const NetworkConfig& config() const { return network_.config(); }
  HiddenStates& states() { return states_; }
  const HiddenStates& states() const { return states_; }

  // Counts what each expert gets into `tokens`, unless it is null.
  absl::Status Advance(int64_t layer, std::vector<int64_t>* tokens) {
    QUANT_ASSIGN_OR_RETURN(const Block block, passes_.Load(layer));
    LinearObserver observer;
    if (tokens != nullptr && config().layers[layer].sparse) {
      tokens->assign(block.mlps.size(), 0);
      observer = [&](const Linear& linear, const float*, int64_t rows) {
        for (size_t e = 0; e < block.mlps.size(); ++e) {
          if (&linear == &block.mlps[e].down) (*tokens)[e] += rows;
        }
      };
    }
    return passes_.Advance(block, layer, observer, states_);
  }

  absl::StatusOr<RanNetwork> End() && {
    return RanNetwork::Create(network_, std::move(states_));
  }

 private:
  Run(const Network& network, const Sequences& sequences,
      const RunOptions& options, HiddenStates states)
      : network_(network),
        passes_(network, sequences, options),
        states_(std::move(states)) {}

  const Network& network_;
  BlockPasses passes_;
  HiddenStates states_;
};

// Rows are added up in their order, so that threads don't show.
absl::Status AddDifference(ThreadPool& pool, const HiddenStates& reference,
                           const HiddenStates& model, int64_t rows,
                           int64_t width, LayerFigures& figures) {
  const int64_t most = std::min(rows, kComparedRows);
  std::vector<float> expected(most * width), found(most * width);
  std::vector<double> noise(most), signal(most);
  for (int64_t first = 0; first < rows; first += most) {
    const int64_t count = std::min(most, rows - first);
    QUANT_RETURN_IF_ERROR(reference.Load(first, count, expected.data()));
    QUANT_RETURN_IF_ERROR(model.Load(first, count, found.data()));
    ParallelFor(pool, count, [&](int64_t r) {
      LaneSums sums;
      AddErrors(expected.data() + r * width, found.data() + r * width, width,
                sums);
      noise[r] = CombineLanes(sums.noise);
      signal[r] = CombineLanes(sums.signal);
    });
    for (int64_t r = 0; r < count; ++r) {
      figures.noise += noise[r];
      figures.signal += signal[r];
    }
  }
  return absl::OkStatus();
}

// Behind how many blocks states and figures of an earlier process are.
absl::StatusOr<int64_t> GoOn(const KeptStates& kept, int64_t blocks,
                             absl::Span<HiddenStates* const> states,
                             std::vector<LayerFigures>& figures) {
  std::string notes;
  QUANT_ASSIGN_OR_RETURN(const int64_t done, kept.Load(blocks, states, notes));
  if (done == 0) return 0;
  auto found = UnpackLayers(notes);
  if (!found || found->size() != figures.size()) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                     "kept states: figures of other layers beside them");
  }
  figures = *std::move(found);
  return done;
}

}  // namespace

std::optional<double> LayerFigures::SqnrDb() const {
  if (noise == 0) return std::nullopt;
  return 10 * std::log10(signal / noise);
}

absl::StatusOr<RanNetwork> RanNetwork::Create(const Network& network,
                                              HiddenStates states) {
  QUANT_ASSIGN_OR_RETURN(Head head, Head::Load(network));
  return RanNetwork(network, std::move(states), std::move(head));
}

absl::Status RanNetwork::Fill(ThreadPool& pool, int64_t first, int64_t rows) {
  hidden_.resize(rows * config().hidden);
  logits_.resize(rows * config().vocabulary);
  QUANT_RETURN_IF_ERROR(states_.Load(first, rows, hidden_.data()));
  head_.Logits(pool, hidden_.data(), rows, logits_.data());
  return absl::OkStatus();
}

std::string PackLayers(const std::vector<LayerFigures>& layers) {
  std::string out;
  const auto append = [&](const auto* values, size_t count) {
    out.append(reinterpret_cast<const char*>(values), count * sizeof(*values));
  };
  for (const LayerFigures& layer : layers) {
    const int64_t experts = static_cast<int64_t>(layer.expert_tokens.size());
    append(&layer.noise, 1);
    append(&layer.signal, 1);
    append(&experts, 1);
    append(layer.expert_tokens.data(), layer.expert_tokens.size());
  }
  return out;
}

std::optional<std::vector<LayerFigures>> UnpackLayers(absl::string_view bytes) {
  std::vector<LayerFigures> layers;
  const auto take = [&](auto* values, size_t count) {
    if (bytes.size() / sizeof(*values) < count) return false;
    if (count > 0) std::memcpy(values, bytes.data(), count * sizeof(*values));
    bytes.remove_prefix(count * sizeof(*values));
    return true;
  };
  while (!bytes.empty()) {
    LayerFigures& layer = layers.emplace_back();
    int64_t experts = 0;
    if (!take(&layer.noise, 1) || !take(&layer.signal, 1) ||
        !take(&experts, 1) || experts < 0 ||
        static_cast<uint64_t>(experts) > bytes.size() / sizeof(experts)) {
      return std::nullopt;
    }
    layer.expert_tokens.resize(experts);
    take(layer.expert_tokens.data(), layer.expert_tokens.size());
  }
  return layers;
}

absl::StatusOr<RanNetworks> RunNetworks(const Network& model,
                                        const Network* reference,
                                        const Sequences& sequences,
                                        const RunOptions& options) {
  QUANT_ASSIGN_OR_RETURN(Run side, Run::Begin(model, sequences, options));
  std::optional<Run> other;
  if (reference != nullptr) {
    QUANT_ASSIGN_OR_RETURN(Run begun,
                           Run::Begin(*reference, sequences, options));
    other.emplace(std::move(begun));
  }
  const bool alike = other && other->layers() == side.layers() &&
                     other->config().hidden == side.config().hidden;
  std::vector<LayerFigures> figures(side.layers());
  const int64_t steps = std::max(side.layers(), other ? other->layers() : 0);
  KeptStates kept(options.keep);
  std::vector<HiddenStates*> states = {&side.states()};
  if (other) states.push_back(&other->states());
  QUANT_ASSIGN_OR_RETURN(const int64_t first,
                         GoOn(kept, steps, states, figures));
  for (int64_t i = first; i < steps; ++i) {
    if (i < side.layers()) {
      QUANT_RETURN_IF_ERROR(side.Advance(i, &figures[i].expert_tokens));
    }
    if (other && i < other->layers()) {
      QUANT_RETURN_IF_ERROR(other->Advance(i, nullptr));
    }
    if (alike) {
      QUANT_RETURN_IF_ERROR(
          AddDifference(*options.pool, other->states(), side.states(),
                        static_cast<int64_t>(sequences.tokens.size()),
                        side.config().hidden, figures[i]));
    }
    QUANT_RETURN_IF_ERROR(kept.Store(i + 1, states, PackLayers(figures)));
    if (options.progress) {
      options.progress(static_cast<double>(i + 1) / static_cast<double>(steps));
    }
  }
  QUANT_ASSIGN_OR_RETURN(RanNetwork ran, std::move(side).End());
  RanNetworks result{.model = std::move(ran), .layers = std::move(figures)};
  if (other) {
    QUANT_ASSIGN_OR_RETURN(result.reference, std::move(*other).End());
  }
  return result;
}

}  // namespace quant
