// The manifest of an artifact as far as it is known before work starts.
#ifndef QUANT_CORE_PIPELINE_LAYOUT_H_
#define QUANT_CORE_PIPELINE_LAYOUT_H_

#include "core/artifact/manifest.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

// The manifest without digests of the files: `sha256` is 64 zeros.
Manifest PlannedManifest(const ModelReader& model, const OutputPlan& plan);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_LAYOUT_H_
