// What the formats write is read back as what was measured when it was written.
#include "core/artifact/quantized_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"
#include "core/tensor/float_formats.h"
#include "tests/core/pipeline/pipeline_test_util.h"
#include "tests/core/tolerances.h"

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
    // These need text and a network: survey_test.cc.
    if (IsStatic(preset.scheme.activations)) continue;
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
                  kDecibelSlack);
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

// A model of one packed weight of 3 bits, [32, 64], in groups of 32.
std::vector<TensorSpec> CtTensors(int64_t row_words) {
  return {{"m.weight_packed", {32, row_words}, DType::kI32},
          {"m.weight_scale", {32, 2}, DType::kF16},
          {"m.weight_shape", {2}, DType::kI64}};
}

std::string CtSettings(const std::string& version) {
  return absl::StrCat(
      R"({"quantization_config": {"quant_method": "compressed-tensors",)",
      R"( "format": "pack-quantized", "version": ")", version,
      R"(", "config_groups": {"group_0": {"weights": {"num_bits": 3}}}}})");
}

void SetShape(const std::string& directory, uint32_t rows, uint32_t columns) {
  PatchElement(directory, "m.weight_shape", 0, rows);
  PatchElement(directory, "m.weight_shape", 1, columns);
  for (int i = 0; i < 64; ++i) {
    PatchElement(directory, "m.weight_scale", i, F32ToF16(i % 2 ? 2.0f : 1.0f));
  }
}

absl::StatusOr<std::vector<float>> ReadWeights(const std::string& directory) {
  const auto stored = OpenModel(directory);
  if (!stored.ok()) return stored.status();
  const auto model = QuantizedModel::Make(**stored);
  if (!model.ok()) return model.status();
  const TensorEntry& tensor = *Find(**model, "m.weight");
  std::vector<float> out(*NumElements(tensor.shape));
  const absl::Status status = (*model)->Read(
      tensor, 0,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()), tensor.bytes));
  if (!status.ok()) return status;
  return out;
}

// 3 bits before version 0.17: ten to a word, 64 in seven words.
TEST(QuantizedModel, ReadsPackingOfBefore017) {
  for (const char* version : {"0.10.2", "0.16.0", ""}) {
    for (bool zeros : {false, true}) {
      TempDir dir;
      std::vector<TensorSpec> tensors = CtTensors(7);
      // 32 zero points of a column in four words.
      if (zeros) {
        tensors.push_back({"m.weight_zero_point", {4, 2}, DType::kI32});
      }
      WriteModel(dir / "m", tensors, 1, CtSettings(version));
      SetShape(dir / "m", 32, 64);
      // Every u is 7, but 1 where a word begins: q = 3, or -3.
      for (int i = 0; i < 32 * 7; ++i) {
        PatchElement(dir / "m", "m.weight_packed", i, 0xFFFFFFF9);
      }
      // u_z = 5, but 4 where a word begins: z = 1, or 0.
      for (int i = 0; zeros && i < 8; ++i) {
        PatchElement(dir / "m", "m.weight_zero_point", i, 05555555554);
      }
      const auto weights = ReadWeights(dir / "m");
      ASSERT_TRUE(weights.ok()) << weights.status();
      for (int r = 0; r < 32; ++r) {
        for (int c = 0; c < 64; ++c) {
          const int q = c % 10 == 0 ? -3 : 3;
          const int z = zeros && r % 10 != 0 ? 1 : 0;
          ASSERT_EQ((*weights)[r * 64 + c],
                    static_cast<float>((q - z) * (c < 32 ? 1 : 2)))
              << r << " " << c;
        }
      }
    }
  }
}

// The same words at version 0.17 are too many, and dense ones before it too
// few; where both packings take as many, the version decides.
TEST(QuantizedModel, PackingFollowsTheVersion) {
  const auto read = [](const std::string& version, int64_t row_words,
                       uint32_t columns) {
    TempDir dir;
    WriteModel(dir / "m", CtTensors(row_words), 1, CtSettings(version));
    SetShape(dir / "m", 32, columns);
    return ReadWeights(dir / "m").status();
  };
  EXPECT_EQ(GetReason(read("0.17.0", 7, 64)), Reason::kUnsupported);
  EXPECT_EQ(GetReason(read("1.0", 7, 64)), Reason::kUnsupported);
  EXPECT_EQ(GetReason(read("0.16.1", 6, 64)), Reason::kUnsupported);
  EXPECT_TRUE(read("0.17.0", 6, 64).ok());
  EXPECT_TRUE(read("", 6, 64).ok());
  // 12 weights of 3 bits are two words in both ways.
  EXPECT_EQ(GetReason(read("", 2, 12)), Reason::kUnsupported);
  EXPECT_TRUE(read("0.16", 2, 12).ok());
  EXPECT_TRUE(read("0.18", 2, 12).ok());
}

TEST(QuantizedModel, FollowsCompressedTensorsGroupsOfColumns) {
  TempDir dir;
  std::vector<TensorSpec> tensors = CtTensors(6);
  tensors.push_back({"m.weight_g_idx", {64}, DType::kI32});
  WriteModel(dir / "m", tensors, 1, CtSettings("0.18.0"));
  SetShape(dir / "m", 32, 64);
  for (int i = 0; i < 32 * 6; ++i) {
    PatchElement(dir / "m", "m.weight_packed", i, 0xFFFFFFFF);
  }
  const auto set = [&](int column, int group) {
    PatchElement(dir / "m", "m.weight_g_idx", column,
                 static_cast<uint32_t>(group));
  };
  const auto expect = [&](auto group_of) {
    const auto weights = ReadWeights(dir / "m");
    ASSERT_TRUE(weights.ok()) << weights.status();
    for (int i = 0; i < 32 * 64; ++i) {
      ASSERT_EQ((*weights)[i], group_of(i % 64) == 0 ? 3 : 6) << i;
    }
  };
  for (int i = 0; i < 64; ++i) set(i, i % 2);
  expect([](int column) { return column % 2; });
  // Its reader takes a single -1 for columns in order.
  set(63, -1);
  expect([](int column) { return column / 32; });
  set(63, 2);
  EXPECT_TRUE(absl::IsDataLoss(ReadWeights(dir / "m").status()));
  // 33 columns of one group, 31 of the other.
  set(63, 0);
  EXPECT_TRUE(absl::IsDataLoss(ReadWeights(dir / "m").status()));
}

// 8-bit integers as they are come with zero points and groups of their own,
// which nobody writes: never read as something else.
TEST(QuantizedModel, RefusesZeroPointsOfPlainIntegers) {
  for (const char* more : {"m.weight_zero_point", "m.weight_g_idx"}) {
    TempDir dir;
    WriteModel(dir / "m",
               {{"m.weight", {32, 64}, DType::kI8},
                {"m.weight_scale", {32, 1}, DType::kF16},
                {more, {64}, DType::kI32}},
               1, CtSettings("0.18.0"));
    EXPECT_EQ(GetReason(ReadWeights(dir / "m").status()), Reason::kUnsupported);
  }
}

// Two weights of one name would be read as one another.
TEST(QuantizedModel, RefusesWeightsThatAreStoredTwice) {
  for (const TensorSpec& more :
       {TensorSpec{"m.weight", {4096, 64}, DType::kF16},
        TensorSpec{"m.weight_packed", {32, 8}, DType::kI32}}) {
    TempDir dir;
    std::vector<TensorSpec> tensors = GptqTensors();
    for (const TensorSpec& tensor : tensors) ASSERT_NE(tensor.name, more.name);
    tensors.push_back(more);
    WriteModel(dir / "m", tensors, 1, kGptqConfig);
    EXPECT_TRUE(absl::IsDataLoss(ReadGptq(dir / "m").status())) << more.name;
  }
}

TEST(QuantizedModel, NamesWhatIsNotRead) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("quant_method": "hqq")", "\"hqq\""},
      {R"("quant_method": "gptq", "checkpoint_format": "marlin")", "marlin"},
      {R"("quant_method": "gptq", "pack_dtype": "int16")", "int16"},
      {R"("quant_method": "awq", "version": "GEMV")", "gemv"},
      {R"("quant_method": "compressed-tensors",
          "transform_config": {"config_groups": {"u": {}}})",
       "transform_config"}};
  for (const auto& [settings, named] : cases) {
    TempDir dir;
    WriteModel(dir / "m", LlamaTensors(64, 64), 1,
               absl::StrCat(R"({"quantization_config": {)", settings, "}}"));
    const auto stored = OpenModel(dir / "m");
    const auto model = QuantizedModel::Make(**stored);
    EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(model.status().message().find(named), std::string::npos)
        << model.status();
  }
  // Five bits lie in planes in GPTQ's files.
  TempDir dir;
  WriteModel(dir / "m",
             {{"m.qweight", {10, 32}, DType::kI32},
              {"m.qzeros", {2, 5}, DType::kI32},
              {"m.scales", {2, 32}, DType::kF16},
              {"m.g_idx", {64}, DType::kI32}},
             1, kGptqConfig);
  EXPECT_EQ(GetReason(ReadGptq(dir / "m").status()), Reason::kUnsupported);
}

}  // namespace
}  // namespace quant
