// Figures of one position's logits.
#ifndef QUANT_CORE_EVALUATE_DISTRIBUTIONS_H_
#define QUANT_CORE_EVALUATE_DISTRIBUTIONS_H_

#include <cstdint>
#include <vector>

namespace quant {

// ln sum_v exp(logits[v]), in double.
double LogSumExp(const float* logits, int64_t n);

// KL(p || q) of two rows of logits, given their LogSumExp; at least 0.
double KlDivergence(const float* p, double p_log_sum, const float* q,
                    double q_log_sum, int64_t n);

// The first index of the greatest value.
int64_t ArgMax(const float* logits, int64_t n);

// By nearest rank: the least value that at least `share` of all are not above.
// `sorted` ascending, not empty; share in 0..1.
double Percentile(const std::vector<double>& sorted, double share);

}  // namespace quant

#endif  // QUANT_CORE_EVALUATE_DISTRIBUTIONS_H_
