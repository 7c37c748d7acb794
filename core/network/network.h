// A decoder-only network over many sequences, block by block: only one block's
// weights are in memory at a time, and the hidden states of all sequences.
//
//   Network::Open -> Run (embeddings, then every block) -> Head, Logits
//   Network::Open -> Embed -> BlockPasses, block by block, as often as wanted
//
// Results are the same bits at any number of threads, on one kind of CPU.
//
// Legend: S sequences, T positions, V vocabulary.
#ifndef QUANT_CORE_NETWORK_NETWORK_H_
#define QUANT_CORE_NETWORK_NETWORK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/network/block.h"
#include "core/network/config.h"
#include "core/network/hidden_states.h"
#include "core/network/kept_states.h"
#include "core/network/linear.h"

namespace quant {

// All sequences have the same length and begin at position 0, with nothing
// before them.
struct Sequences {
  absl::Span<const int32_t> tokens;  // [S, T]
  int64_t length = 0;                // T
  int64_t count() const { return static_cast<int64_t>(tokens.size()) / length; }
};

struct RunOptions {
  ThreadPool* pool = nullptr;
  std::stop_token stop;
  SpillOptions spill;
  KeepOptions keep;                      // of passes that can go on later
  std::function<void(double)> progress;  // fraction in 0..1; may be empty
};

class Network {
 public:
  // `model` must outlive this. `roundings`: of inputs, where a scheme quantizes
  // activations. See ParseNetworkConfig for the errors.
  static absl::StatusOr<std::unique_ptr<Network>> Open(
      const ModelReader& model, InputRoundings roundings = {});

  const NetworkConfig& config() const { return config_; }
  const WeightLoader& loader() const { return loader_; }

  // INVALID_ARGUMENT for a token beyond the vocabulary, or sequences that are
  // too long.
  absl::Status CheckSequences(const Sequences& sequences) const;

  // Hidden states after the last block, before the final norm. CANCELLED when
  // stopped.
  absl::StatusOr<HiddenStates> Run(const Sequences& sequences,
                                   const RunOptions& options) const;

  // Embeddings of the sequences.
  absl::StatusOr<HiddenStates> Embed(const Sequences& sequences,
                                     const SpillOptions& spill) const;

 private:
  Network(const ModelReader& model, NetworkConfig config,
          InputRoundings roundings)
      : config_(std::move(config)), loader_(model, std::move(roundings)) {}

  NetworkConfig config_;
  WeightLoader loader_;
};

// Blocks over all sequences. What it is given outlives it.
class BlockPasses {
 public:
  BlockPasses(const Network& network, const Sequences& sequences,
              const RunOptions& options);

  int64_t count() const {
    return static_cast<int64_t>(network_.config().layers.size());
  }
  absl::StatusOr<Block> Load(int64_t layer) const;

  // Shows the inputs of the block's Linears to `observer`; states stay as they
  // are. CANCELLED when stopped, here and below.
  absl::Status Observe(const Block& block, int64_t layer,
                       const LinearObserver& observer,
                       HiddenStates& states) const;
  // Replaces the states by what the block makes of them. `observer` may be
  // empty.
  absl::Status Advance(const Block& block, int64_t layer,
                       const LinearObserver& observer,
                       HiddenStates& states) const;

 private:
  absl::Status Run(const Block& block, int64_t layer,
                   const LinearObserver& observer, bool store,
                   HiddenStates& states) const;

  const Network& network_;
  const Sequences sequences_;
  const RunOptions& options_;
  RopeTable rope_;
  RopeTable sliding_rope_;
};

// The final norm and the head, in memory.
class Head {
 public:
  static absl::StatusOr<Head> Load(const Network& network);

  // hidden [rows, H] (overwritten) -> logits [rows, V].
  void Logits(ThreadPool& pool, float* hidden, int64_t rows,
              float* logits) const;

 private:
  explicit Head(const NetworkConfig& config) : config_(config) {}

  NetworkConfig config_;
  std::vector<float> norm_;
  Linear linear_;
};

// Sequences that are run at a time: enough rows for large products, few enough
// for small buffers. Fixed by the length alone.
int64_t SequencesPerBatch(int64_t length);

}  // namespace quant

#endif  // QUANT_CORE_NETWORK_NETWORK_H_
