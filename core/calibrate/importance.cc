#include "core/calibrate/importance.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_names.h"
#include "core/base/status_macros.h"
#include "core/calibrate/calibration.h"
#include "core/calibrate/input_spaces.h"

namespace quant {
namespace {

// Of one weight of the network: an entry without stacking.
using Entries = std::map<std::string, ImatrixEntry>;

ImatrixEntry EntryOf(const InputStatistics& statistics) {
  ImatrixEntry entry;
  entry.counts = {statistics.tokens()};
  for (double sum : statistics.sum_squares()) {
    entry.means.push_back(
        statistics.tokens() == 0
            ? 1.0f
            : static_cast<float>(sum /
                                 static_cast<double>(statistics.tokens())));
  }
  return entry;
}

absl::StatusOr<Entries> RunBlocks(const Network& network,
                                  const Sequences& sequences,
                                  const RunOptions& options) {
  QUANT_ASSIGN_OR_RETURN(HiddenStates states,
                         network.Embed(sequences, options.spill));
  const BlockPasses passes(network, sequences, options);
  Entries entries;
  for (int64_t layer = 0; layer < passes.count(); ++layer) {
    QUANT_ASSIGN_OR_RETURN(Block block, passes.Load(layer));
    const std::vector<InputSpace> spaces = InputSpacesOf(block);
    Collector collector(*options.pool, spaces, /*with_hessians=*/false);
    QUANT_RETURN_IF_ERROR(
        passes.Advance(block, layer, collector.observer(), states));
    for (size_t i = 0; i < spaces.size(); ++i) {
      const ImatrixEntry entry = EntryOf(collector.of(i));
      for (const Linear* linear : spaces[i].linears) {
        entries[absl::StrCat(linear->name, ".weight")] = entry;
      }
    }
    if (options.progress) {
      options.progress(static_cast<double>(layer + 1) /
                       static_cast<double>(passes.count()));
    }
  }
  return entries;
}

// One entry behind the other, by expert.
void Append(const ImatrixEntry& expert, ImatrixEntry& stack) {
  stack.means.insert(stack.means.end(), expert.means.begin(),
                     expert.means.end());
  stack.counts.insert(stack.counts.end(), expert.counts.begin(),
                      expert.counts.end());
}

}  // namespace

absl::StatusOr<Imatrix> MeasureImportance(const ModelReader& model,
                                          const DatasetFile& text,
                                          const RunOptions& options) {
  QUANT_ASSIGN_OR_RETURN(const auto network, Network::Open(model));
  const Sequences sequences = SequencesOf(text.data);
  QUANT_RETURN_IF_ERROR(network->CheckSequences(sequences));
  QUANT_ASSIGN_OR_RETURN(const DecoderConfig config,
                         ParseDecoderConfig(model.config_json()));
  QUANT_ASSIGN_OR_RETURN(const GgufMap map, MapToGguf(config, model.tensors()));
  QUANT_ASSIGN_OR_RETURN(const Entries entries,
                         RunBlocks(*network, sequences, options));
  Imatrix matrix;
  matrix.datasets = {text.name};
  matrix.chunks = sequences.count();
  matrix.chunk_tokens = sequences.length;
  for (const GgufMapping& mapping : map.tensors) {
    ImatrixEntry entry;
    for (int index : mapping.tensors) {
      const auto found = entries.find(model.tensors()[index].name);
      if (found != entries.end()) Append(found->second, entry);
    }
    if (!entry.counts.empty()) matrix.entries[mapping.name] = std::move(entry);
  }
  return matrix;
}

}  // namespace quant
