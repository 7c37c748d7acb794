// A model of 140 GB of which only the headers exist: opening it must touch
// nothing else.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/container/model_reader.h"
#include "core/container/safetensors.h"
#include "gtest/gtest.h"
#include "tests/core/container/measure.h"
#include "tests/core/container/model_files.h"

namespace quant {
namespace {

constexpr int kLayers = 80;
constexpr int kShards = 20;
constexpr int64_t kHidden = 8192;
constexpr int64_t kFfn = 28672;

std::vector<SafetensorsTensor> LayerTensors(int layer) {
  std::vector<SafetensorsTensor> tensors;
  const auto add = [&](const char* name, Shape shape) {
    tensors.push_back(
        {.name = absl::StrCat("model.layers.", layer, ".", name, ".weight"),
         .dtype = DType::kBF16,
         .shape = std::move(shape)});
  };
  add("input_layernorm", {kHidden});
  add("mlp.down_proj", {kHidden, kFfn});
  add("mlp.gate_proj", {kFfn, kHidden});
  add("mlp.up_proj", {kFfn, kHidden});
  add("post_attention_layernorm", {kHidden});
  add("self_attn.k_proj", {1024, kHidden});
  add("self_attn.o_proj", {kHidden, kHidden});
  add("self_attn.q_proj", {kHidden, kHidden});
  add("self_attn.v_proj", {1024, kHidden});
  return tensors;
}

struct Sizes {
  int64_t headers = 0;
  int64_t files = 0;
};

// A 70B Llama in shards: headers, and holes where the weights would be.
Sizes WriteSparseModel(const TempDir& dir) {
  Sizes sizes;
  std::string map;
  for (int shard = 0; shard < kShards; ++shard) {
    const std::string name =
        absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, kShards);
    std::vector<SafetensorsTensor> tensors;
    for (int layer = shard; layer < kLayers; layer += kShards) {
      for (auto& tensor : LayerTensors(layer)) {
        absl::StrAppend(&map, map.empty() ? "" : ",", "\"", tensor.name,
                        "\":\"", name, "\"");
        tensors.push_back(std::move(tensor));
      }
    }
    const auto layout = LayOutSafetensors(std::move(tensors));
    EXPECT_TRUE(layout.ok()) << layout.status();
    const auto file = File::OpenWrite(dir.Write(name, layout->header));
    EXPECT_TRUE(file.ok() && file->Truncate(layout->file_size).ok());
    sizes.headers += static_cast<int64_t>(layout->header.size());
    sizes.files += layout->file_size;
  }
  const std::string index = absl::StrCat("{\"weight_map\":{", map, "}}");
  dir.Write("model.safetensors.index.json", index);
  sizes.headers += static_cast<int64_t>(index.size());
  return sizes;
}

TEST(SparseModelTest, OpensFastAndReadsHeadersOnly) {
  TempDir dir;
  const Sizes sizes = WriteSparseModel(dir);
  ASSERT_GT(sizes.files, 130'000'000'000);
  const int64_t own = BytesReadByMeasuring();

  const int64_t before = BytesRead();
  const double start = ThreadSeconds();
  const auto model = OpenModel(dir.path());
  const double seconds = ThreadSeconds() - start;
  const int64_t read = BytesRead() - before - own;

  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->tensors().size(), static_cast<size_t>(kLayers * 9));
  EXPECT_LT(seconds, 0.2);
  // The counter's own text may have grown by a digit or two.
  EXPECT_NEAR(static_cast<double>(read), static_cast<double>(sizes.headers),
              16);
}

}  // namespace
}  // namespace quant
