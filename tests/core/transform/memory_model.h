// A checkpoint in memory, with small whole numbers as weights.
#ifndef QUANT_TESTS_CORE_TRANSFORM_MEMORY_MODEL_H_
#define QUANT_TESTS_CORE_TRANSFORM_MEMORY_MODEL_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "core/container/model_reader.h"
#include "core/tensor/float_formats.h"
#include "tests/core/architecture/fake_decoders.h"
#include "tests/core/base/temp_dir.h"

namespace quant {

// A model in memory.
class MemoryModel final : public ModelReader {
 public:
  MemoryModel(const nlohmann::json& config, std::vector<TensorEntry> tensors)
      : config_(config.dump()), tensors_(std::move(tensors)) {
    sides_ = {{.name = "tokenizer.json",
               .path = folder_.Write("tokenizer.json", FakeTokenizerJson())}};
    std::mt19937 random(1);
    for (const TensorEntry& tensor : tensors_) {
      std::vector<uint8_t>& bytes = bytes_[tensor.name];
      bytes.resize(*TensorBytes(tensor.dtype, tensor.shape));
      const int64_t size = DTypeBits(tensor.dtype) / 8;
      for (size_t i = 0; i < bytes.size(); i += size) {
        // Small whole numbers are exact in every type.
        const float value = static_cast<float>(random() % 255) - 127;
        const uint16_t half =
            tensor.dtype == DType::kF16 ? F32ToF16(value) : F32ToBf16(value);
        const double wide = value;
        const void* from = &half;
        if (tensor.dtype == DType::kF32) from = &value;
        if (tensor.dtype == DType::kF64) from = &wide;
        std::memcpy(&bytes[i], from, size);
      }
    }
  }

  // The values of a tensor.
  std::vector<float> Values(const std::string& name) const {
    for (const TensorEntry& tensor : tensors_) {
      if (tensor.name == name) return ToFloats(tensor.dtype, bytes_.at(name));
    }
    ADD_FAILURE() << "no " << name;
    return {};
  }

  static std::vector<float> ToFloats(DType dtype,
                                     const std::vector<uint8_t>& bytes) {
    const int64_t size = DTypeBits(dtype) / 8;
    std::vector<float> values(bytes.size() / size);
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t half = 0;
      double wide = 0;
      if (size == 2) std::memcpy(&half, &bytes[i * 2], 2);
      if (size == 8) std::memcpy(&wide, &bytes[i * 8], 8);
      if (dtype == DType::kF16) values[i] = F16ToF32(half);
      if (dtype == DType::kBF16) values[i] = Bf16ToF32(half);
      if (dtype == DType::kF64) values[i] = static_cast<float>(wide);
      if (dtype == DType::kF32) std::memcpy(&values[i], &bytes[i * 4], 4);
    }
    return values;
  }

  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<WeightFile>& files() const override { return files_; }
  const std::string& config_json() const override { return config_; }
  const std::vector<SideFile>& side_files() const override { return sides_; }
  absl::Status Read(const TensorEntry& tensor, int64_t begin,
                    absl::Span<uint8_t> out) const override {
    const std::vector<uint8_t>& bytes = bytes_.at(tensor.name);
    EXPECT_LE(begin + out.size(), bytes.size()) << tensor.name;
    std::copy_n(bytes.begin() + begin, out.size(), out.begin());
    return absl::OkStatus();
  }
  absl::Status CheckUnchanged() const override { return absl::OkStatus(); }
  const std::string& path() const override { return config_; }
  std::string weight_path(int) const override { return ""; }

 private:
  TempDir folder_;
  std::string config_;
  std::vector<TensorEntry> tensors_;
  std::vector<WeightFile> files_;
  std::vector<SideFile> sides_;
  std::map<std::string, std::vector<uint8_t>> bytes_;
};

}  // namespace quant

#endif  // QUANT_TESTS_CORE_TRANSFORM_MEMORY_MODEL_H_
