// A whole GGUF file as a checkpoint: config.json, tokenizer files and tensors
// made of whatever keys it has.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/container/gguf.h"
#include "core/transform/dequantized_model.h"
#include "core/transform/restored_model.h"
#include "tests/fuzz/memory_file.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

// The file, as far as its header is accepted.
class Opened final : public ModelReader {
 public:
  Opened(quant::GgufHeader header, absl::string_view bytes)
      : kvs_(std::move(header.kvs)), bytes_(bytes) {
    for (GgufTensor& tensor : header.tensors) {
      TensorEntry entry{.name = tensor.name,
                        .dtype = DType::kU8,
                        .shape = tensor.shape,
                        .offset = tensor.begin,
                        .bytes = tensor.end - tensor.begin};
      if (const auto dtype = DTypeOf(tensor.type)) {
        entry.dtype = *dtype;
      } else {
        entry.block_type = tensor.type;
      }
      tensors_.push_back(std::move(entry));
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
  }

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override { return files_; }
  const std::string& config_json() const override { return path_; }
  absl::Span<const GgufKv> kvs() const override { return kvs_; }
  const std::vector<SideFile>& side_files() const override { return sides_; }
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override {
    const int64_t size = static_cast<int64_t>(out.size());
    QUANT_FUZZ_CHECK(begin >= 0 && size <= tensor.bytes - begin);
    std::copy_n(bytes_.data() + tensor.offset + begin, size, out.data());
    return absl::OkStatus();
  }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }
  const std::string& path() const override { return path_; }
  std::string weight_path(int) const override { return ""; }

 private:
  std::vector<TensorEntry> tensors_;
  std::vector<WeightFile> files_;
  std::vector<SideFile> sides_;
  std::vector<GgufKv> kvs_;
  std::string path_;
  absl::string_view bytes_;
};

void CheckRestored(const RestoredModel& model) {
  const auto parses = [](const std::string& text) {
    return nlohmann::json::accept(text);
  };
  QUANT_FUZZ_CHECK(parses(model.config_json()));
  for (const MadeFile& file : model.made_files()) {
    QUANT_FUZZ_CHECK(file.name == "tokenizer.model" || parses(file.text));
  }
  std::set<std::string> names;
  for (const TensorEntry& tensor : model.tensors()) {
    QUANT_FUZZ_CHECK(names.insert(tensor.name).second);
    QUANT_FUZZ_CHECK(TensorBytes(tensor.dtype, tensor.shape) == tensor.bytes);
    std::vector<uint8_t> bytes(tensor.bytes);
    QUANT_FUZZ_CHECK(model.Read(tensor, 0, absl::MakeSpan(bytes)).ok());
  }
}

}  // namespace

void GgufCheckpoint(absl::string_view bytes) {
  const auto file = File::OpenRead(MemoryFile(bytes));
  QUANT_FUZZ_CHECK(file.ok());
  auto header = ReadGgufHeader(*file);
  if (!header.ok()) return;
  const Opened opened(*std::move(header), bytes);
  const auto values = DequantizedModel(opened);
  if (!values.ok()) return;
  const auto model = RestoredModel::Create(**values);
  if (model.ok()) return CheckRestored(**model);
  const Reason reason = GetReason(model.status());
  QUANT_FUZZ_CHECK(reason == Reason::kModelMalformed ||
                   reason == Reason::kUnsupported ||
                   reason == Reason::kUnknownName);
  QUANT_FUZZ_CHECK(model.status().message().size() < 8192);
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::GgufCheckpoint)
