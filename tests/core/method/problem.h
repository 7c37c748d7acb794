// A weight and what its inputs look like, for methods that look at them.
#ifndef QUANT_TESTS_CORE_METHOD_PROBLEM_H_
#define QUANT_TESTS_CORE_METHOD_PROBLEM_H_

#include <cstdint>
#include <random>
#include <vector>

namespace quant {

// Weights [O, I] and the Hessian of correlated inputs, some of them large.
struct Problem {
  int64_t rows = 0;
  int64_t n = 0;
  std::vector<float> w;
  std::vector<float> h;

  Problem(int64_t rows, int64_t n, int seed) : rows(rows), n(n) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    w.resize(rows * n);
    for (float& x : w) x = normal(random) * 0.02f;
    const int64_t tokens = 2 * n;
    std::vector<double> x(tokens * n);
    for (int64_t t = 0; t < tokens; ++t) {
      double previous = 0;
      for (int64_t i = 0; i < n; ++i) {
        previous = 0.8 * previous + normal(random);
        x[t * n + i] = previous * (i % 17 == 3 ? 6 : 1);
      }
    }
    h.resize(n * n);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t t = 0; t < tokens; ++t) sum += x[t * n + i] * x[t * n + j];
        h[i * n + j] = static_cast<float>(2 * sum);
      }
    }
  }

  // tr(d H d^T).
  double Error(const std::vector<float>& back) const {
    double error = 0;
    std::vector<double> d(n);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < n; ++i) d[i] = w[r * n + i] - back[r * n + i];
      for (int64_t i = 0; i < n; ++i) {
        double sum = 0;
        for (int64_t j = 0; j < n; ++j) sum += h[i * n + j] * d[j];
        error += d[i] * sum;
      }
    }
    return error;
  }
};

}  // namespace quant

#endif  // QUANT_TESTS_CORE_METHOD_PROBLEM_H_
