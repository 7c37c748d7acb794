// A whole safetensors file. What is accepted must be laid out without holes,
// and survive being laid out again.
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/container/safetensors.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

absl::StatusOr<quant::SafetensorsHeader> Read(absl::string_view bytes) {
  const auto file = File::OpenRead(MemoryFile(bytes));
  QUANT_FUZZ_CHECK(file.ok());
  return ReadSafetensorsHeader(*file);
}

void CheckAccepted(const quant::SafetensorsHeader& header, int64_t file_size) {
  int64_t end = 0;
  for (const SafetensorsTensor& tensor : header.tensors) {
    QUANT_FUZZ_CHECK(tensor.begin == end);
    end = tensor.end;
    QUANT_FUZZ_CHECK(TensorBytes(tensor.dtype, tensor.shape) ==
                     tensor.end - tensor.begin);
  }
  QUANT_FUZZ_CHECK(header.data_start + end == file_size);
}

}  // namespace

void SafetensorsHeader(absl::string_view bytes) {
  const auto header = Read(bytes);
  if (!header.ok()) {
    const Reason reason = GetReason(header.status());
    QUANT_FUZZ_CHECK(reason == Reason::kModelMalformed ||
                     reason == Reason::kUnsafeFormat);
    QUANT_FUZZ_CHECK(header.status().message().size() < 4096);
    return;
  }
  CheckAccepted(*header, static_cast<int64_t>(bytes.size()));
  const auto layout = LayOutSafetensors(header->tensors);
  QUANT_FUZZ_CHECK(layout.ok());
  const auto again = ParseSafetensorsHeader(
      absl::string_view(layout->header).substr(8), layout->file_size);
  QUANT_FUZZ_CHECK(again.ok());
  QUANT_FUZZ_CHECK(again->tensors.size() == header->tensors.size());
  CheckAccepted(*again, layout->file_size);
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::SafetensorsHeader)
