// Where the stages that run a text keep its hidden states between blocks.
#ifndef QUANT_CORE_PIPELINE_KEEP_FOR_H_
#define QUANT_CORE_PIPELINE_KEEP_FOR_H_

#include <string>

#include "core/network/kept_states.h"
#include "core/pipeline/execute.h"
#include "core/pipeline/plan.h"

namespace quant {

// In a directory of the work directory. Of this plan's weights and text, and
// this kind of CPU; stages that share a directory add what tells them apart.
KeepOptions KeepFor(const ExecuteOptions& options, const Plan& plan,
                    const std::string& directory);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_KEEP_FOR_H_
