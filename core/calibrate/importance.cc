#include "core/calibrate/importance.h"

#include <utility>

#include "core/architecture/decoder_config.h"
#include "core/architecture/gguf_names.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// An expert that met no token has ones: nothing is known of it.
ImatrixEntry EntryOf(const InputSummary& summary) {
  ImatrixEntry entry;
  entry.counts = {summary.tokens};
  entry.means = summary.mean_square;
  if (summary.tokens == 0) entry.means.assign(entry.means.size(), 1.0f);
  return entry;
}

// One entry behind the other, by expert.
void Append(const ImatrixEntry& expert, ImatrixEntry& stack) {
  stack.means.insert(stack.means.end(), expert.means.begin(),
                     expert.means.end());
  stack.counts.insert(stack.counts.end(), expert.counts.begin(),
                      expert.counts.end());
}

}  // namespace

absl::StatusOr<Imatrix> ImportanceOf(const ModelReader& model,
                                     const InputSummaries& summaries) {
  QUANT_ASSIGN_OR_RETURN(const DecoderConfig config,
                         ParseDecoderConfig(model.config_json()));
  QUANT_ASSIGN_OR_RETURN(const GgufMap map, MapToGguf(config, model.tensors()));
  Imatrix matrix;
  for (const GgufMapping& mapping : map.tensors) {
    ImatrixEntry entry;
    for (int index : mapping.tensors) {
      const auto found = summaries.find(model.tensors()[index].name);
      if (found != summaries.end()) Append(EntryOf(found->second), entry);
    }
    if (!entry.counts.empty()) matrix.entries[mapping.name] = std::move(entry);
  }
  return matrix;
}

absl::StatusOr<Imatrix> ImportanceOf(const ModelReader& model,
                                     const DatasetFile& text,
                                     const InputSummaries& summaries) {
  QUANT_ASSIGN_OR_RETURN(Imatrix matrix, ImportanceOf(model, summaries));
  matrix.datasets = {text.name};
  matrix.chunks = text.data.sequences;
  matrix.chunk_tokens = text.data.sequence_length;
  return matrix;
}

absl::StatusOr<Imatrix> MeasureImportance(const ModelReader& model,
                                          const DatasetFile& text,
                                          const RunOptions& options) {
  // Names first: there may be none.
  QUANT_RETURN_IF_ERROR(ImportanceOf(model, {}).status());
  QUANT_ASSIGN_OR_RETURN(const InputSummaries summaries,
                         SummarizeInputs(model, text.data, options));
  return ImportanceOf(model, text, summaries);
}

}  // namespace quant
