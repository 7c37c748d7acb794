// Runs a test once per SIMD target of this CPU.
#ifndef QUANT_TESTS_CORE_KERNELS_TARGET_TEST_H_
#define QUANT_TESTS_CORE_KERNELS_TARGET_TEST_H_

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "core/kernels/lane_sums.h"
#include "core/kernels/targets.h"

namespace quant {

class TargetTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ForceKernelTarget(GetParam()); }
  void TearDown() override { ForceKernelTarget(""); }
};

inline std::string TargetName(
    const ::testing::TestParamInfo<std::string>& info) {
  return info.param;
}

#define QUANT_FOR_EACH_TARGET(suite)       \
  INSTANTIATE_TEST_SUITE_P(Targets, suite, \
                           ::testing::ValuesIn(KernelTargets()), TargetName)

// Bit for bit.
inline bool SameSums(const LaneSums& a, const LaneSums& b) {
  return std::memcmp(a.noise, b.noise, sizeof(a.noise)) == 0 &&
         std::memcmp(a.signal, b.signal, sizeof(a.signal)) == 0 &&
         std::memcmp(&a.max_abs_error, &b.max_abs_error, sizeof(float)) == 0;
}

}  // namespace quant

#endif  // QUANT_TESTS_CORE_KERNELS_TARGET_TEST_H_
