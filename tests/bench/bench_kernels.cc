// One thread, data in cache: what the kernels reach. Items are weights.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "core/codec/codec.h"
#include "core/kernels/convert.h"
#include "core/kernels/ggml_blocks.h"
#include "core/kernels/pack.h"
#include "core/method/method.h"
#include "core/tensor/float_formats.h"

namespace quant {
namespace {

constexpr int64_t kRows = 32, kCols = 4096;

std::vector<float> Weights() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> weights(kRows * kCols);
  for (float& w : weights) w = Bf16ToF32(F32ToBf16(normal(random)));
  return weights;
}

void Convert(benchmark::State& state) {
  std::vector<uint8_t> bytes(2 * kRows * kCols, 0x3c);
  std::vector<float> out(kRows * kCols);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        ConvertToF32(DType::kBF16, bytes.data(), kRows * kCols, out.data()));
  }
  state.SetItemsProcessed(state.iterations() * kRows * kCols);
}
BENCHMARK(Convert);

void Pack(benchmark::State& state) {
  const int bits = static_cast<int>(state.range(0));
  std::vector<int8_t> codes(kRows * kCols, 1);
  std::vector<uint8_t> out(4 * kRows * PackedWords(kCols, bits));
  for (auto _ : state) {
    PackRows(codes.data(), kRows, kCols, bits, out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kRows * kCols);
}
BENCHMARK(Pack)->DenseRange(2, 8);

// Every preset with both scale rules: a new preset is a new case by itself.
void Quantize(benchmark::State& state, const Preset& preset, ScaleRule rule) {
  const auto codec = MakeCodec(preset.scheme);
  const auto method = FindMethod("rtn");
  const std::vector<float> weights = Weights();
  const MethodOptions options{
      .scale = rule, .scale_type = DType::kBF16, .narrow = true};
  MethodScratch scratch;
  CodeTile tile;
  for (auto _ : state) {
    benchmark::DoNotOptimize((*method)->Quantize(
        **codec, options, {}, weights.data(), kRows, kCols, tile, scratch));
  }
  state.SetItemsProcessed(state.iterations() * kRows * kCols);
}

benchmark::Counter TimePer(int64_t weights) {
  return {static_cast<double>(weights),
          benchmark::Counter::kIsIterationInvariantRate |
              benchmark::Counter::kInvert};
}

void EncodeGguf(benchmark::State& state, const GgmlTypeInfo& type,
                SearchLevel search, bool weighted) {
  const GgmlKernels kernels = GgmlKernelsOf(type.type);
  const std::vector<float> weights = Weights();
  std::vector<float> importance(kCols);
  for (int64_t i = 0; i < kCols; ++i) importance[i] = 0.05f + (i * 37 % 101);
  const int64_t row_bytes = kCols / type.block_elems * type.block_bytes;
  std::vector<uint8_t> blocks(kRows * row_bytes);
  for (auto _ : state) {
    for (int64_t row = 0; row < kRows; ++row) {
      kernels.encode(weights.data() + row * kCols, kCols,
                     weighted ? importance.data() : nullptr, search,
                     blocks.data() + row * row_bytes);
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kRows * kCols);
  state.counters["time_per_weight"] = TimePer(kRows * kCols);
}

void DecodeGguf(benchmark::State& state, const GgmlTypeInfo& type) {
  const int64_t n = kRows * kCols;
  const std::vector<float> weights = Weights();
  std::vector<uint8_t> blocks(n / type.block_elems * type.block_bytes);
  const GgmlKernels kernels = GgmlKernelsOf(type.type);
  kernels.encode(weights.data(), n, nullptr, SearchLevel::kFast, blocks.data());
  std::vector<float> out(n);
  for (auto _ : state) {
    kernels.decode(blocks.data(), n, out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * n);
  state.counters["time_per_weight"] = TimePer(n);
}

// Every block type that has kernels: a new line in ggml_blocks.def is a new
// case by itself.
void RegisterGguf() {
  for (const GgmlTypeInfo& type : GgmlTypes()) {
    if (GgmlKernelsOf(type.type).encode == nullptr) continue;
    const std::string name = "gguf/" + std::string(type.name);
    for (auto search : {SearchLevel::kFast, SearchLevel::kDefault}) {
      const bool fast = search == SearchLevel::kFast;
      for (const bool weighted : {false, true}) {
        if (fast && weighted) continue;
        const std::string suffix = fast       ? "/fast"
                                   : weighted ? "/importance"
                                              : "/default";
        benchmark::RegisterBenchmark(
            (name + suffix).c_str(),
            [&type, search, weighted](benchmark::State& state) {
              EncodeGguf(state, type, search, weighted);
            });
      }
    }
    benchmark::RegisterBenchmark(
        (name + "/decode").c_str(),
        [&type](benchmark::State& state) { DecodeGguf(state, type); });
  }
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
  for (const quant::Preset& preset : quant::Presets()) {
    for (auto rule : {quant::ScaleRule::kMinmax, quant::ScaleRule::kMse}) {
      const bool mse = rule == quant::ScaleRule::kMse;
      benchmark::RegisterBenchmark(
          (preset.scheme.name + (mse ? "/mse" : "/minmax")).c_str(),
          [&preset, rule](benchmark::State& state) {
            quant::Quantize(state, preset, rule);
          });
    }
  }
  quant::RegisterGguf();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
