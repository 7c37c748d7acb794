// The SIMD targets behind the kernels. Every kernel gives the same bytes and
// the same sums on all of them; tests force each in turn.
#ifndef QUANT_CORE_KERNELS_TARGETS_H_
#define QUANT_CORE_KERNELS_TARGETS_H_

#include <string>
#include <vector>

namespace quant {

// Names of the targets that were compiled and that this CPU runs, best first.
std::vector<std::string> KernelTargets();

// Tests only: uses this target (one of KernelTargets()) from now on; empty goes
// back to the best. Not while kernels run.
void ForceKernelTarget(const std::string& name);

}  // namespace quant

#endif  // QUANT_CORE_KERNELS_TARGETS_H_
