// Where every byte of an artifact goes: shards, offsets, text files, manifest.
#ifndef QUANT_CORE_PIPELINE_LAYOUT_H_
#define QUANT_CORE_PIPELINE_LAYOUT_H_

#include <vector>

#include "absl/status/statusor.h"
#include "core/artifact/format.h"
#include "core/artifact/manifest.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

// Places the outputs of `tensors` (in the order of the model's tensors): fills
// file and offset of each, and the layout of the files. A source tensor's
// outputs stay in one file; files are filled up to `max_shard_bytes` in order.
// INVALID_ARGUMENT when that makes more files than readers take.
absl::StatusOr<std::vector<LayoutFile>> PlaceTensors(
    std::vector<TensorPlan>& tensors, int64_t max_shard_bytes);

// model.safetensors.index.json; empty for a single file.
std::string IndexJson(const std::vector<LayoutFile>& files);

// The manifest without digests of the files: `sha256` is 64 zeros.
Manifest PlannedManifest(const ModelReader& model, const OutputPlan& plan);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_LAYOUT_H_
