// gen_model: writes a random Llama-shaped model in BF16, of any size, by
// streaming: for benchmarks, memory tests and kill loops.
//
//   gen_model --output DIR --bytes 8GB --big-tensor-bytes 2GB --shards 4
//   gen_model --output DIR --bytes 140GB --sparse     headers only, no data
//
// Weights are normal with deviation 0.02: each is a BF16 quantile picked by 16
// random bits. A tensor's values depend on the seed and its name only, not on
// shards or order. The last layer's up_proj takes `--big-tensor-bytes`; its
// rows then exceed the config's intermediate_size, which no quantizer needs.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/bytes.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr double kDeviation = 0.02;  // of initial weights in this family
constexpr int64_t kBufferBytes = int64_t{4} << 20;

struct Options {
  std::string output;
  int64_t bytes = 0;
  int64_t big_tensor_bytes = 0;
  uint64_t seed = 1;
  int shards = 1;
  bool sparse = false;
};

struct Geometry {
  int64_t hidden, ffn, vocab;
};

// Public models' widths for the size, so that layers are many but not tiny.
Geometry GeometryFor(int64_t bytes) {
  if (bytes < 64'000'000) return {256, 768, 2048};
  if (bytes < 1'000'000'000) return {1024, 2816, 8192};
  if (bytes < 16'000'000'000) return {2048, 5632, 32000};
  if (bytes < 100'000'000'000) return {4096, 14336, 128256};
  return {8192, 28672, 128256};
}

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t bytes() const {
    int64_t elements = 1;
    for (int64_t dim : shape) elements *= dim;
    return elements * 2;
  }
};

void AddLayer(int index, const Geometry& g, int64_t up_rows,
              std::vector<Tensor>* tensors) {
  const std::string layer = absl::StrCat("model.layers.", index, ".");
  const int64_t kv = g.hidden / 4;
  auto add = [&](const char* name, std::vector<int64_t> shape) {
    tensors->push_back({absl::StrCat(layer, name, ".weight"), shape});
  };
  add("input_layernorm", {g.hidden});
  add("mlp.down_proj", {g.hidden, g.ffn});
  add("mlp.gate_proj", {g.ffn, g.hidden});
  add("mlp.up_proj", {up_rows, g.hidden});
  add("post_attention_layernorm", {g.hidden});
  add("self_attn.k_proj", {kv, g.hidden});
  add("self_attn.o_proj", {g.hidden, g.hidden});
  add("self_attn.q_proj", {g.hidden, g.hidden});
  add("self_attn.v_proj", {kv, g.hidden});
}

int LayersFor(const Options& options, const Geometry& g) {
  const int64_t outer = 4 * g.vocab * g.hidden + options.big_tensor_bytes;
  const int64_t layer =
      2 * (g.hidden * g.hidden * 5 / 2 + 3 * g.hidden * g.ffn + 2 * g.hidden);
  return static_cast<int>(
      std::max<int64_t>(1, (options.bytes - outer + layer / 2) / layer));
}

std::vector<Tensor> MakeTensors(const Options& options, const Geometry& g,
                                int layers) {
  std::vector<Tensor> tensors = {
      {"lm_head.weight", {g.vocab, g.hidden}},
      {"model.embed_tokens.weight", {g.vocab, g.hidden}},
      {"model.norm.weight", {g.hidden}}};
  for (int i = 0; i < layers; ++i) {
    const bool big = i + 1 == layers && options.big_tensor_bytes > 0;
    AddLayer(i, g, big ? options.big_tensor_bytes / 2 / g.hidden : g.ffn,
             &tensors);
  }
  // The order of the reference writer: one dtype, so by name.
  std::sort(tensors.begin(), tensors.end(),
            [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
  return tensors;
}

uint64_t SplitMix(uint64_t* state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// table[i] = the BF16 nearest to the (i + 1/2) / 65536 quantile.
const std::array<uint16_t, 65536>& Quantiles() {
  static const auto* table = [] {
    auto* values = new std::array<uint16_t, 65536>;
    double x = -6;  // quantiles rise: Newton starts from the one before
    for (int i = 0; i < 65536; ++i) {
      const double p = (i + 0.5) / 65536;
      for (int step = 0; step < 100; ++step) {
        const double density = std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
        const double delta = (std::erfc(-x / M_SQRT2) / 2 - p) / density;
        x -= std::clamp(delta, -0.5, 0.5);
        if (std::abs(delta) < 1e-9) break;
      }
      (*values)[i] = ToBf16(static_cast<float>(x * kDeviation));
    }
    return values;
  }();
  return *table;
}

uint64_t SeedOf(const std::string& name, uint64_t seed) {
  uint64_t hash = 0xCBF29CE484222325u ^ seed;  // FNV-1a
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001B3u;
  return hash;
}

absl::Status WriteTensor(const File& file, const Tensor& tensor, int64_t offset,
                         uint64_t seed, std::vector<uint8_t>* buffer) {
  const auto& table = Quantiles();
  uint64_t state = SeedOf(tensor.name, seed);
  const bool norm = tensor.shape.size() == 1;
  for (int64_t done = 0; done < tensor.bytes();) {
    const int64_t size = std::min(kBufferBytes, tensor.bytes() - done);
    auto* out = reinterpret_cast<uint16_t*>(buffer->data());
    for (int64_t i = 0; i < size / 2; i += 4) {  // widths are multiples of 4
      const uint64_t random = SplitMix(&state);
      for (int k = 0; k < 4; ++k) {
        out[i + k] = norm ? 0x3F80 : table[random >> (16 * k) & 0xFFFF];
      }
    }
    QUANT_RETURN_IF_ERROR(
        file.WriteAt(offset + done, absl::MakeConstSpan(buffer->data(), size)));
    done += size;
  }
  return absl::OkStatus();
}

std::string Header(const std::vector<Tensor>& tensors) {
  std::string json = R"({"__metadata__":{"format":"pt"})";
  int64_t at = 0;
  for (const Tensor& tensor : tensors) {
    absl::StrAppend(&json, ",\"", tensor.name, R"(":{"dtype":"BF16","shape":[)",
                    tensor.shape[0]);
    if (tensor.shape.size() > 1) absl::StrAppend(&json, ",", tensor.shape[1]);
    absl::StrAppend(&json, "],\"data_offsets\":[", at, ",", at + tensor.bytes(),
                    "]}");
    at += tensor.bytes();
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  const uint64_t length = json.size();  // little-endian hosts only
  return std::string(reinterpret_cast<const char*>(&length), 8) + json;
}

absl::StatusOr<int64_t> WriteShard(const std::string& path,
                                   const std::vector<Tensor>& tensors,
                                   const Options& options) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenWrite(path));
  QUANT_RETURN_IF_ERROR(file.Truncate(0));
  const std::string header = Header(tensors);
  QUANT_RETURN_IF_ERROR(file.WriteAt(
      0, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(header.data()),
                             header.size())));
  std::vector<uint8_t> buffer(kBufferBytes);
  int64_t at = static_cast<int64_t>(header.size());
  int64_t data_bytes = 0;
  for (const Tensor& tensor : tensors) {
    if (!options.sparse) {
      QUANT_RETURN_IF_ERROR(
          WriteTensor(file, tensor, at, options.seed, &buffer));
    }
    at += tensor.bytes();
    data_bytes += tensor.bytes();
  }
  QUANT_RETURN_IF_ERROR(file.Truncate(at));
  return data_bytes;
}

std::string Config(const Geometry& g, int layers) {
  return absl::StrFormat(
      R"({
  "architectures": ["LlamaForCausalLM"],
  "hidden_act": "silu",
  "hidden_size": %d,
  "intermediate_size": %d,
  "max_position_embeddings": 2048,
  "model_type": "llama",
  "num_attention_heads": %d,
  "num_hidden_layers": %d,
  "num_key_value_heads": %d,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "tie_word_embeddings": false,
  "torch_dtype": "bfloat16",
  "vocab_size": %d
}
)",
      g.hidden, g.ffn, g.hidden / 64, layers, g.hidden / 256, g.vocab);
}

// The least that a GGUF file needs; the other rows of the embedding are unused.
constexpr char kTokenizer[] = R"({
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2},
            "merges": ["a b"]}
}
)";

// Contiguous runs of tensors of about equal bytes.
std::vector<std::vector<Tensor>> Split(const std::vector<Tensor>& tensors,
                                       int shards) {
  int64_t total = 0;
  for (const Tensor& tensor : tensors) total += tensor.bytes();
  std::vector<std::vector<Tensor>> parts(1);
  int64_t before = 0;
  for (const Tensor& tensor : tensors) {
    const int64_t wanted = total / shards * static_cast<int64_t>(parts.size());
    if (before >= wanted && !parts.back().empty() &&
        static_cast<int>(parts.size()) < shards) {
      parts.emplace_back();
    }
    parts.back().push_back(tensor);
    before += tensor.bytes();
  }
  return parts;
}

absl::Status Generate(const Options& options) {
  const Geometry g = GeometryFor(options.bytes);
  const int layers = LayersFor(options, g);
  const auto parts = Split(MakeTensors(options, g, layers), options.shards);
  QUANT_RETURN_IF_ERROR(MakeDirectories(options.output));
  std::string weight_map;
  int64_t total = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name =
        parts.size() == 1 ? "model.safetensors"
                          : absl::StrFormat("model-%05d-of-%05d.safetensors",
                                            i + 1, parts.size());
    QUANT_ASSIGN_OR_RETURN(
        int64_t bytes,
        WriteShard(JoinPath(options.output, name), parts[i], options));
    total += bytes;
    for (const Tensor& tensor : parts[i]) {
      absl::StrAppend(&weight_map, weight_map.empty() ? "" : ",\n", "    \"",
                      tensor.name, "\": \"", name, "\"");
    }
  }
  if (parts.size() > 1) {
    QUANT_RETURN_IF_ERROR(WriteFileAtomically(
        JoinPath(options.output, "model.safetensors.index.json"),
        absl::StrCat("{\n  \"metadata\": {\"total_size\": ", total,
                     "},\n  \"weight_map\": {\n", weight_map, "\n  }\n}\n"),
        false));
  }
  std::printf("%s: %d layers, %zu files, %s\n", options.output.c_str(), layers,
              parts.size(), FormatBytes(total).c_str());
  QUANT_RETURN_IF_ERROR(WriteFileAtomically(
      JoinPath(options.output, "tokenizer.json"), kTokenizer, false));
  return WriteFileAtomically(JoinPath(options.output, "config.json"),
                             Config(g, layers), false);
}

CLI::Validator AsBytes() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        const auto bytes = ParseBytes(text);
        if (!bytes.ok()) return std::string(bytes.status().message());
        text = std::to_string(*bytes);
        return "";
      },
      "BYTES");
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  quant::Options options;
  CLI::App app("Writes a random Llama-shaped BF16 model.");
  app.add_option("--output", options.output)->required();
  app.add_option("--bytes", options.bytes)
      ->required()
      ->transform(quant::AsBytes());
  app.add_option("--big-tensor-bytes", options.big_tensor_bytes)
      ->transform(quant::AsBytes());
  app.add_option("--seed", options.seed);
  app.add_option("--shards", options.shards)->check(CLI::Range(1, 1000));
  app.add_flag("--sparse", options.sparse, "headers only, holes for data");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = quant::Generate(options);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
