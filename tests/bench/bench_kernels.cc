// One thread, data in cache: what the kernels reach. Items are weights.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "core/codec/codec.h"
#include "core/kernels/convert.h"
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
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
