#include "tests/core/pipeline/pipeline_test_util.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/file.h"
#include "core/container/safetensors.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

// Normal weights of one tensor as bytes of its type; of other types the first
// bytes are those of a BF16.
std::string WeightBytes(const TensorSpec& tensor) {
  std::mt19937 random(std::hash<std::string>()(tensor.name) & 0x7FFFFFFF);
  std::normal_distribution<float> normal(0, 0.02f);
  const int64_t count = *NumElements(tensor.shape);
  std::string bytes(*TensorBytes(tensor.dtype, tensor.shape), '\0');
  const int64_t size = DTypeBits(tensor.dtype) / 8;
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal(random);
    const uint16_t half =
        tensor.dtype == DType::kF16 ? F32ToF16(value) : F32ToBf16(value);
    const double wide = value;
    uint8_t element[8] = {};
    std::memcpy(element, &half, sizeof(half));
    if (tensor.dtype == DType::kF32) std::memcpy(element, &value, 4);
    if (tensor.dtype == DType::kF64) std::memcpy(element, &wide, 8);
    std::memcpy(bytes.data() + i * size, element, std::min<int64_t>(size, 8));
  }
  return bytes;
}

void WriteShard(const std::string& path,
                const std::vector<TensorSpec>& tensors) {
  std::vector<SafetensorsTensor> list;
  std::map<std::string, const TensorSpec*> by_name;
  for (const TensorSpec& tensor : tensors) {
    list.push_back(
        {.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape});
    by_name[tensor.name] = &tensor;
  }
  const auto layout = LayOutSafetensors(std::move(list));
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::ofstream out(path, std::ios::binary);
  out << layout->header;
  for (const SafetensorsTensor& tensor : layout->tensors) {
    out << WeightBytes(*by_name[tensor.name]);
  }
}

}  // namespace

TempDir::TempDir() {
  std::string pattern = ::testing::TempDir() + "quant-XXXXXX";
  path_ = ::mkdtemp(pattern.data());
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void WriteModel(const std::string& directory,
                const std::vector<TensorSpec>& tensors, int shards,
                const std::string& config) {
  fs::create_directories(directory);
  if (!config.empty()) WriteAll(directory + "/config.json", config);
  WriteAll(directory + "/tokenizer.json", "{\"version\": \"1.0\"}\n");
  if (shards == 1) {
    WriteShard(directory + "/model.safetensors", tensors);
    return;
  }
  nlohmann::json index;
  index["metadata"]["total_size"] = 0;
  std::vector<std::vector<TensorSpec>> parts(shards);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int shard = static_cast<int>(i) % shards;
    parts[shard].push_back(tensors[i]);
    index["weight_map"][tensors[i].name] =
        absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, shards);
  }
  for (int i = 0; i < shards; ++i) {
    WriteShard(absl::StrFormat("%s/model-%05d-of-%05d.safetensors", directory,
                               i + 1, shards),
               parts[i]);
  }
  WriteAll(directory + "/model.safetensors.index.json", index.dump());
}

std::vector<TensorSpec> LlamaTensors(int64_t hidden, int64_t ffn, DType dtype,
                                     int layers) {
  std::vector<TensorSpec> tensors = {
      {"model.embed_tokens.weight", {96, hidden}, dtype},
      {"model.norm.weight", {hidden}, dtype},
      {"lm_head.weight", {96, hidden}, dtype}};
  for (int i = 0; i < layers; ++i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      const bool small = part[0] == 'k' || part[0] == 'v';
      tensors.push_back({absl::StrCat(layer, "self_attn.", part, ".weight"),
                         {small ? hidden / 2 : hidden, hidden},
                         dtype});
    }
    tensors.push_back({layer + "mlp.gate_proj.weight", {ffn, hidden}, dtype});
    tensors.push_back({layer + "mlp.up_proj.weight", {ffn, hidden}, dtype});
    tensors.push_back({layer + "mlp.down_proj.weight", {hidden, ffn}, dtype});
    tensors.push_back({layer + "input_layernorm.weight", {hidden}, dtype});
  }
  return tensors;
}

void PatchElement(const std::string& directory, const std::string& tensor,
                  int64_t index, uint32_t bits) {
  const auto model = OpenModel(directory);
  ASSERT_TRUE(model.ok()) << model.status();
  for (const TensorEntry& entry : (*model)->tensors()) {
    if (entry.name != tensor) continue;
    const int64_t size = DTypeBits(entry.dtype) / 8;
    std::fstream file((*model)->weight_path(entry.file),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(entry.offset + index * size);
    const uint64_t wide = bits;
    file.write(reinterpret_cast<const char*>(&wide), size);
    return;
  }
  FAIL() << "no tensor " << tensor;
}

OutputRequest Request(const std::string& scheme, const std::string& format) {
  OutputRequest request;
  request.name = scheme;
  const auto found = FindScheme(scheme);
  EXPECT_TRUE(found.ok()) << found.status();
  if (found.ok()) request.scheme = *found;
  request.format = format;
  request.recipe_json =
      absl::StrCat("{\"scheme\":\"", scheme, "\",\"format\":\"", format, "\"}");
  return request;
}

absl::StatusOr<ExecuteResult> RunPipeline(const std::string& model,
                                          const PlanRequest& request,
                                          const std::string& work_dir,
                                          int threads, ExecuteOptions options) {
  auto reader = OpenModel(model);
  if (!reader.ok()) return reader.status();
  auto plan = MakePlan(**reader, request);
  if (!plan.ok()) return plan.status();
  ThreadPool pool(threads);
  options.work_dir = work_dir;
  options.pool = &pool;
  options.sync = false;
  return Execute(**reader, *plan, options);
}

absl::StatusOr<int> RunWithStops(const std::string& model,
                                 const PlanRequest& request,
                                 const std::string& work_dir, int threads,
                                 int most, bool keep_states) {
  for (int stops = 0; stops < most; ++stops) {
    std::stop_source stop;
    ExecuteOptions options;
    options.stop = stop.get_token();
    options.journal = [&](int64_t) { stop.request_stop(); };
    if (keep_states) options.keep_states_every = {};
    const auto result = RunPipeline(model, request, work_dir, threads, options);
    if (result.ok()) return stops;
    if (!absl::IsCancelled(result.status())) return result.status();
  }
  return absl::InternalError("it does not get on");
}

absl::StatusOr<Plan> PlanModel(const std::string& model,
                               const std::vector<OutputRequest>& outputs,
                               int threads) {
  auto reader = OpenModel(model);
  if (!reader.ok()) return reader.status();
  return MakePlan(**reader, {.outputs = outputs, .threads = threads});
}

std::map<std::string, std::string> ReadTree(const std::string& directory) {
  std::map<std::string, std::string> files;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(directory, error)) {
    if (!entry.is_regular_file()) continue;
    files[fs::relative(entry.path(), directory).string()] =
        ReadAll(entry.path().string());
  }
  return files;
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::vector<std::string> RealModels() {
  std::vector<std::string> models = {QUANT_SOURCE_DIR
                                     "/examples/tiny-own-pad768-bf16"};
  const char* more = ::getenv("QUANT_TEST_MODELS");
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(
           more != nullptr ? more : QUANT_SOURCE_DIR "/../shared/data/models",
           error)) {
    models.push_back(entry.path().string());
  }
  return models;
}

}  // namespace quant
