// A whole importance matrix, of either form. What is accepted must be weights:
// finite, not negative, as many per expert as per other expert.
#include <cmath>

#include "core/base/error.h"
#include "core/container/imatrix.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {

void Imatrix(absl::string_view bytes) {
  const auto matrix = ReadImatrix(MemoryFile(bytes));
  if (!matrix.ok()) {
    const Reason reason = GetReason(matrix.status());
    QUANT_FUZZ_CHECK(reason == Reason::kModelMalformed ||
                     reason == Reason::kUnsupported);
    QUANT_FUZZ_CHECK(matrix.status().message().size() < 4096);
    return;
  }
  size_t values = 0;
  for (const auto& [name, entry] : matrix->entries) {
    const int64_t size = static_cast<int64_t>(entry.means.size());
    QUANT_FUZZ_CHECK(entry.experts() > 0 && size % entry.experts() == 0);
    for (float mean : entry.means) {
      QUANT_FUZZ_CHECK(std::isfinite(mean) && mean >= 0);
    }
    const auto found =
        matrix->Find(name, entry.experts(), size / entry.experts());
    QUANT_FUZZ_CHECK(found.ok() && found->size() == entry.means.size());
    values += entry.means.size();
  }
  QUANT_FUZZ_CHECK(values * sizeof(float) <= bytes.size());
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::Imatrix)
