// The manifest of an artifact as far as it is known before work starts.
#ifndef QUANT_CORE_PIPELINE_LAYOUT_H_
#define QUANT_CORE_PIPELINE_LAYOUT_H_

#include <map>
#include <string>
#include <vector>

#include "core/artifact/manifest.h"
#include "core/container/model_reader.h"
#include "core/pipeline/plan.h"

namespace quant {

// What the figures of an evaluation are called among an output's metrics.
const std::vector<std::string>& EvaluationMetrics();

// The manifest without digests of the files (`sha256` is 64 zeros) and with the
// longest figures and verdicts that there can be. `evaluation` may be null.
Manifest PlannedManifest(const ModelReader& model, const OutputPlan& plan,
                         const EvaluationText* evaluation,
                         const std::vector<Gate>& gates);

// Puts figures and verdicts in the place of those.
void SetFindings(const std::map<std::string, double>& metrics,
                 const std::vector<GateVerdict>& verdicts, Manifest& manifest);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_LAYOUT_H_
