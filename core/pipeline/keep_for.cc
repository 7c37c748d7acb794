#include "core/pipeline/keep_for.h"

#include "absl/strings/str_cat.h"
#include "core/base/file.h"
#include "core/kernels/gemm.h"

namespace quant {

KeepOptions KeepFor(const ExecuteOptions& options, const Plan& plan,
                    const std::string& directory) {
  return {.path = JoinPath(directory, "kept.states"),
          .identity = absl::StrCat(plan.fingerprint, " ", GemmIsa()),
          .every = options.keep_states_every,
          .sync = options.sync,
          .kept = options.journal};
}

}  // namespace quant
