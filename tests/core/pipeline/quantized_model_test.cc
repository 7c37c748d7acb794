// What the formats write is read back as what was measured when it was written.
#include "core/artifact/quantized_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "core/base/error.h"
#include "core/tensor/float_formats.h"
#include "tests/core/pipeline/pipeline_test_util.h"

namespace quant {
namespace {

std::vector<float> ReadFloats(const ModelReader& model,
                              const TensorEntry& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  EXPECT_TRUE(model.Read(tensor, 0, absl::MakeSpan(bytes)).ok());
  const int64_t count = *NumElements(tensor.shape);
  std::vector<float> out(count);
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half;
    if (tensor.dtype == DType::kF32) {
      std::memcpy(&out[i], &bytes[4 * i], 4);
      continue;
    }
    std::memcpy(&half, &bytes[2 * i], 2);
    out[i] = tensor.dtype == DType::kF16 ? F16ToF32(half) : Bf16ToF32(half);
  }
  return out;
}

const TensorEntry* Find(const ModelReader& model, const std::string& name) {
  for (const TensorEntry& tensor : model.tensors()) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

// Signal to noise over all weights that are stored as codes.
double SqnrOf(const ModelReader& source, const QuantizedModel& model) {
  double noise = 0, signal = 0;
  for (const StoredWeight& weight : model.weights()) {
    const auto x = ReadFloats(source, *Find(source, weight.source.name));
    const auto back = ReadFloats(model, *Find(model, weight.source.name));
    EXPECT_EQ(x.size(), back.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double error = static_cast<double>(back[i] - x[i]);
      noise += error * error;
      signal += static_cast<double>(x[i]) * x[i];
    }
  }
  return 10 * std::log10(signal / noise);
}

// Any range of bytes is that part of the whole.
void ExpectRanges(const QuantizedModel& model) {
  std::mt19937 random(8);
  for (const StoredWeight& weight : model.weights()) {
    const TensorEntry& tensor = *Find(model, weight.source.name);
    std::vector<uint8_t> whole(tensor.bytes);
    ASSERT_TRUE(model.Read(tensor, 0, absl::MakeSpan(whole)).ok());
    for (int i = 0; i < 4; ++i) {
      const int64_t begin = random() % whole.size();
      const int64_t size = random() % (whole.size() - begin) + 1;
      std::vector<uint8_t> part(size);
      ASSERT_TRUE(model.Read(tensor, begin, absl::MakeSpan(part)).ok());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin))
          << tensor.name << " from " << begin << ", " << size;
    }
  }
}

// All formats that are read back, with every preset that they take.
std::vector<OutputRequest> AllRequests() {
  std::vector<OutputRequest> requests;
  for (const Preset& preset : Presets()) {
    if (!preset.unavailable.empty()) continue;
    for (const char* format : {"awq", "bitsandbytes", "compressed-tensors",
                               "fp8", "gptq", "gptq_v2"}) {
      OutputRequest request = Request(preset.scheme.name, format);
      request.on_mismatch = OnMismatch::kSkip;
      if ((*FindFormat(format))->CheckScheme(request.scheme).ok()) {
        request.name = preset.scheme.name + "-" + format;
        requests.push_back(request);
      }
    }
  }
  OutputRequest tensor = Request("FP8_DYNAMIC", "fp8");
  tensor.scheme.granularity = Granularity::kTensor;
  tensor.name = "tensor";
  requests.push_back(tensor);
  return requests;
}

TEST(QuantizedModel, IsWhatWasMeasured) {
  for (DType dtype : {DType::kBF16, DType::kF32}) {
    TempDir dir;
    WriteModel(dir / "model", LlamaTensors(256, 640, dtype, 1), 2);
    const auto source = OpenModel(dir / "model");
    ASSERT_TRUE(source.ok()) << source.status();
    const std::vector<OutputRequest> requests = AllRequests();
    ASSERT_GE(requests.size(), 25u);
    const auto result =
        RunPipeline(dir / "model", {.outputs = requests}, dir / "work");
    ASSERT_TRUE(result.ok()) << result.status();
    for (const ExecutedOutput& output : result->outputs) {
      SCOPED_TRACE(output.name);
      const auto stored = OpenModel(output.directory);
      ASSERT_TRUE(stored.ok()) << stored.status();
      const auto model = QuantizedModel::Make(**stored);
      ASSERT_TRUE(model.ok()) << model.status();
      ASSERT_NE(*model, nullptr);
      EXPECT_EQ((*model)->weights().size(), 7u);
      EXPECT_EQ((*model)->tensors().size(), (*source)->tensors().size());
      EXPECT_EQ((*model)->config_json().find("quantization_config"),
                std::string::npos);
      EXPECT_NEAR(SqnrOf(**source, **model), output.metrics.at("sqnr_db"),
                  1e-9);
      ASSERT_NO_FATAL_FAILURE(ExpectRanges(**model));
    }
  }
}

TEST(QuantizedModel, IsNullForWhatIsNotQuantized) {
  TempDir dir;
  WriteModel(dir / "model", LlamaTensors(64, 64));
  const auto source = OpenModel(dir / "model");
  const auto model = QuantizedModel::Make(**source);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(*model, nullptr);
}

constexpr char kGptqConfig[] =
    R"({"quantization_config": {"quant_method": "gptq", "bits": 4,
        "group_size": 32, "sym": true, "desc_act": true}})";

std::vector<TensorSpec> GptqTensors() {
  return {{"m.qweight", {8, 32}, DType::kI32},
          {"m.qzeros", {2, 4}, DType::kI32},
          {"m.scales", {2, 32}, DType::kF16},
          {"m.g_idx", {64}, DType::kI32}};
}

absl::StatusOr<std::vector<float>> ReadGptq(const std::string& directory) {
  const auto stored = OpenModel(directory);
  if (!stored.ok()) return stored.status();
  const auto model = QuantizedModel::Make(**stored);
  if (!model.ok()) return model.status();
  std::vector<uint8_t> bytes(32 * 64 * 4);
  const TensorEntry* tensor = Find(**model, "m.weight");
  if (absl::Status status = (*model)->Read(*tensor, 0, absl::MakeSpan(bytes));
      !status.ok()) {
    return status;
  }
  std::vector<float> out(32 * 64);
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

// Activation order: groups are not consecutive columns.
TEST(QuantizedModel, FollowsTheGroupsOfColumns) {
  TempDir dir;
  WriteModel(dir / "m", GptqTensors(), 1, kGptqConfig);
  for (int i = 0; i < 8 * 32; ++i)
    PatchElement(dir / "m", "m.qweight", i, 0x99999999);
  for (int i = 0; i < 8; ++i)
    PatchElement(dir / "m", "m.qzeros", i, 0x77777777);
  for (int i = 0; i < 64; ++i) {
    PatchElement(dir / "m", "m.scales", i, F32ToF16(i < 32 ? 1.0f : 2.0f));
    PatchElement(dir / "m", "m.g_idx", i, static_cast<uint32_t>(i % 2));
  }
  const auto weights = ReadGptq(dir / "m");
  ASSERT_TRUE(weights.ok()) << weights.status();
  for (int i = 0; i < 32 * 64; ++i) {
    ASSERT_EQ((*weights)[i], i % 2 == 0 ? 1.0f : 2.0f) << i;
  }
  PatchElement(dir / "m", "m.g_idx", 5, 2);
  EXPECT_EQ(ReadGptq(dir / "m").status().code(), absl::StatusCode::kDataLoss);
  PatchElement(dir / "m", "m.g_idx", 5, 0xFFFFFFFF);
  EXPECT_EQ(ReadGptq(dir / "m").status().code(), absl::StatusCode::kDataLoss);
}

// Shapes that do not go together are refused before anything is read.
TEST(QuantizedModel, RefusesShapesThatDisagree) {
  for (size_t part = 0; part < 4; ++part) {
    for (const Shape& shape : {Shape{1, 1}, Shape{8}, Shape{3, 32}, Shape{},
                               Shape{0, 32}, Shape{8, 33}, Shape{65}}) {
      TempDir dir;
      std::vector<TensorSpec> tensors = GptqTensors();
      if (tensors[part].shape == shape) continue;
      tensors[part].shape = shape;
      WriteModel(dir / "m", tensors, 1, kGptqConfig);
      // A width that no file has is "not read", all else is broken.
      const absl::Status status = ReadGptq(dir / "m").status();
      EXPECT_TRUE(absl::IsDataLoss(status) ||
                  GetReason(status) == Reason::kUnsupported)
          << tensors[part].name << " " << ShapeToString(shape) << " " << status;
    }
    TempDir dir;
    std::vector<TensorSpec> tensors = GptqTensors();
    tensors[part].dtype = DType::kU8;
    WriteModel(dir / "m", tensors, 1, kGptqConfig);
    EXPECT_FALSE(ReadGptq(dir / "m").ok()) << tensors[part].name;
    tensors.erase(tensors.begin() + part);
    WriteModel(dir / "n", tensors, 1, kGptqConfig);
    if (part > 0) EXPECT_FALSE(ReadGptq(dir / "n").ok()) << part;
  }
}

TEST(QuantizedModel, NamesWhatIsNotRead) {
  TempDir dir;
  WriteModel(dir / "m", LlamaTensors(64, 64), 1,
             R"({"quantization_config": {"quant_method": "hqq"}})");
  const auto stored = OpenModel(dir / "m");
  const auto model = QuantizedModel::Make(**stored);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(model.status().message().find("\"hqq\""), std::string::npos)
      << model.status();
}

}  // namespace
}  // namespace quant
