// A whole GGUF file. What is accepted must lie inside of the file without
// holes, and survive being laid out again.
#include <string>

#include "core/base/checked_math.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/container/gguf.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

absl::StatusOr<quant::GgufHeader> Read(absl::string_view bytes) {
  const auto file = File::OpenRead(MemoryFile(bytes));
  QUANT_FUZZ_CHECK(file.ok());
  return ReadGgufHeader(*file);
}

void CheckAccepted(const quant::GgufHeader& header, int64_t file_size) {
  int64_t next = header.data_start;
  for (const GgufTensor& tensor : header.tensors) {
    QUANT_FUZZ_CHECK(tensor.begin == next);
    QUANT_FUZZ_CHECK(GgmlTensorBytes(tensor.type, tensor.shape) ==
                     tensor.end - tensor.begin);
    QUANT_FUZZ_CHECK(tensor.end <= file_size);
    next = RoundUp(tensor.end, header.alignment);
  }
}

}  // namespace

void GgufHeader(absl::string_view bytes) {
  const auto header = Read(bytes);
  if (!header.ok()) {
    const Reason reason = GetReason(header.status());
    QUANT_FUZZ_CHECK(reason == Reason::kModelMalformed ||
                     reason == Reason::kUnsupported);
    QUANT_FUZZ_CHECK(header.status().message().size() < 4096);
    return;
  }
  CheckAccepted(*header, static_cast<int64_t>(bytes.size()));
  const auto layout =
      LayOutGguf(header->kvs, header->tensors, header->alignment);
  QUANT_FUZZ_CHECK(layout.ok());
  QUANT_FUZZ_CHECK(layout->tensors == header->tensors);
  QUANT_FUZZ_CHECK(static_cast<int64_t>(layout->header.size()) ==
                   header->data_start);
  std::string whole = layout->header;
  whole.resize(layout->file_size);
  const auto again = Read(whole);
  QUANT_FUZZ_CHECK(again.ok());
  // Field by field the same bytes; the version is always written as 3.
  QUANT_FUZZ_CHECK(header->version != 3 || again->digest == header->digest);
  QUANT_FUZZ_CHECK(again->tensors == header->tensors);
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::GgufHeader)
