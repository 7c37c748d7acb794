// What methods that scale inputs make their factors of.
//
// Legend: I columns.
#ifndef QUANT_CORE_METHOD_INPUT_SCALES_H_
#define QUANT_CORE_METHOD_INPUT_SCALES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace quant {

// Values [I] of columns that are tied (InputView::ties) become their mean.
void MeansOfTied(absl::Span<const int32_t> ties, std::vector<double>& values);
// Or the largest of them, of values >= 0.
void MaximaOfTied(absl::Span<const int32_t> ties, std::vector<double>& values);

// `factors` [I] >= 0, multiplied so that the least and the greatest of them are
// as far from 1. Columns of 0 (inputs that were always zero), and all of them
// where there is no such multiple, get 1.
std::vector<float> CenteredFactors(const std::vector<double>& factors);

}  // namespace quant

#endif  // QUANT_CORE_METHOD_INPUT_SCALES_H_
