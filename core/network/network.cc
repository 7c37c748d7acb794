#include "core/network/network.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/network/parallel.h"

namespace quant {
namespace {

constexpr int64_t kBatchRows = 2048;
constexpr char kEmbedding[] = "model.embed_tokens.weight";

}  // namespace

int64_t SequencesPerBatch(int64_t length) {
  return std::max<int64_t>(1, kBatchRows / length);
}

absl::StatusOr<std::unique_ptr<Network>> Network::Open(
    const ModelReader& model, InputRoundings roundings) {
  QUANT_ASSIGN_OR_RETURN(NetworkConfig config,
                         ParseNetworkConfig(model.config_json()));
  return std::unique_ptr<Network>(
      new Network(model, std::move(config), std::move(roundings)));
}

absl::Status Network::CheckSequences(const Sequences& sequences) const {
  if (sequences.length < 1 || sequences.length > kMaxSequenceLength) {
    return InvalidSpec(absl::StrCat("sequence length: ", sequences.length,
                                    "; 1 to ", kMaxSequenceLength,
                                    " are allowed"));
  }
  for (size_t i = 0; i < sequences.tokens.size(); ++i) {
    const int32_t token = sequences.tokens[i];
    if (token >= 0 && token < config_.vocabulary) continue;
    return InvalidSpec(absl::StrCat("token ", i, ": id ", token,
                                    "; the model has ids 0 to ",
                                    config_.vocabulary - 1));
  }
  return absl::OkStatus();
}

absl::StatusOr<HiddenStates> Network::Embed(const Sequences& sequences,
                                            const SpillOptions& spill) const {
  const int64_t rows = static_cast<int64_t>(sequences.tokens.size());
  QUANT_ASSIGN_OR_RETURN(HiddenStates states,
                         HiddenStates::Create(rows, config_.hidden, spill));
  const Shape shape = {config_.vocabulary, config_.hidden};
  std::vector<float> row(config_.hidden);
  for (int64_t r = 0; r < rows; ++r) {
    QUANT_RETURN_IF_ERROR(loader_.LoadRows(kEmbedding, shape,
                                           sequences.tokens[r], 1, row.data()));
    for (float& x : row) x *= config_.embedding_scale;
    QUANT_RETURN_IF_ERROR(states.Store(r, 1, row.data()));
  }
  return states;
}

absl::StatusOr<HiddenStates> Network::Run(const Sequences& sequences,
                                          const RunOptions& options) const {
  QUANT_RETURN_IF_ERROR(CheckSequences(sequences));
  QUANT_ASSIGN_OR_RETURN(HiddenStates states, Embed(sequences, options.spill));
  const BlockPasses passes(*this, sequences, options);
  for (int64_t i = 0; i < passes.count(); ++i) {
    QUANT_ASSIGN_OR_RETURN(const Block block, passes.Load(i));
    QUANT_RETURN_IF_ERROR(passes.Advance(block, i, {}, states));
    if (options.progress) {
      options.progress(static_cast<double>(i + 1) /
                       static_cast<double>(passes.count()));
    }
  }
  return states;
}

BlockPasses::BlockPasses(const Network& network, const Sequences& sequences,
                         const RunOptions& options)
    : network_(network),
      sequences_(sequences),
      options_(options),
      rope_(MakeRopeTable(network.config().rope, sequences.length)) {
  const std::vector<LayerConfig>& layers = network.config().layers;
  const auto slides = [](const LayerConfig& layer) { return layer.sliding; };
  if (std::any_of(layers.begin(), layers.end(), slides)) {
    sliding_rope_ =
        MakeRopeTable(network.config().sliding_rope, sequences.length);
  }
}

absl::StatusOr<Block> BlockPasses::Load(int64_t layer) const {
  return LoadBlock(network_.loader(), network_.config(), layer);
}

absl::Status BlockPasses::Observe(const Block& block, int64_t layer,
                                  const LinearObserver& observer,
                                  HiddenStates& states) const {
  return Run(block, layer, observer, /*store=*/false, states);
}

absl::Status BlockPasses::Advance(const Block& block, int64_t layer,
                                  const LinearObserver& observer,
                                  HiddenStates& states) const {
  return Run(block, layer, observer, /*store=*/true, states);
}

absl::Status BlockPasses::Run(const Block& block, int64_t layer,
                              const LinearObserver& observer, bool store,
                              HiddenStates& states) const {
  BlockRun run;
  run.pool = options_.pool;
  run.config = &network_.config();
  run.layer = run.config->layers[layer];
  run.rope = run.layer.sliding ? &sliding_rope_ : &rope_;
  run.positions = sequences_.length;
  run.observer = observer;
  const int64_t batch = SequencesPerBatch(sequences_.length);
  std::vector<float> rows;
  for (int64_t s = 0; s < sequences_.count(); s += batch) {
    if (options_.stop.stop_requested()) {
      return absl::CancelledError("stopped between sequences");
    }
    run.sequences = std::min(batch, sequences_.count() - s);
    const int64_t first = s * sequences_.length;
    const int64_t count = run.sequences * sequences_.length;
    rows.resize(count * run.config->hidden);
    QUANT_RETURN_IF_ERROR(states.Load(first, count, rows.data()));
    RunBlock(block, run, rows.data());
    if (!store) continue;
    QUANT_RETURN_IF_ERROR(states.Store(first, count, rows.data()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Head> Head::Load(const Network& network) {
  const NetworkConfig& config = network.config();
  Head head(config);
  QUANT_ASSIGN_OR_RETURN(
      head.norm_, network.loader().Load("model.norm.weight", {config.hidden}));
  if (config.traits.norms == NormStyle::kSandwich) {
    for (float& w : head.norm_) w += 1;
  }
  QUANT_ASSIGN_OR_RETURN(
      head.linear_.weight,
      network.loader().Load(config.tied ? kEmbedding : "lm_head.weight",
                            {config.vocabulary, config.hidden}));
  head.linear_.out = config.vocabulary;
  head.linear_.in = config.hidden;
  head.linear_.rounding = network.loader().RoundingOf("lm_head");
  return head;
}

void Head::Logits(ThreadPool& pool, float* hidden, int64_t rows,
                  float* logits) const {
  const int64_t h = config_.hidden;
  ParallelFor(pool, rows, [&](int64_t r) {
    RmsNorm(hidden + r * h, norm_, config_.norm_epsilon, hidden + r * h);
  });
  linear_.Apply(pool, hidden, rows, logits, config_.vocabulary);
  if (config_.final_softcap == 0) return;
  const float cap = config_.final_softcap;
  ParallelFor(pool, rows, [&](int64_t r) {
    float* row = logits + r * config_.vocabulary;
    for (int64_t i = 0; i < config_.vocabulary; ++i) {
      row[i] = cap * std::tanh(row[i] / cap);
    }
  });
}

}  // namespace quant
