// Every bound that input from outside meets, in one place.
#ifndef QUANT_CORE_BASE_LIMITS_H_
#define QUANT_CORE_BASE_LIMITS_H_

#include <cstdint>

namespace quant {

// safetensors: the reference reader's cap on the header.
inline constexpr int64_t kMaxSafetensorsHeaderBytes = 100'000'000;
// GGUF: everything before the data. The largest vocabularies take 20 MB; each
// byte may cost about four of memory (short strings).
inline constexpr int64_t kMaxGgufHeaderBytes = 128 << 20;
inline constexpr int64_t kMaxGgufKeys = 1 << 16;
inline constexpr int64_t kMaxGgufKeyBytes = 65535;      // the format's own
inline constexpr int64_t kMaxGgufArrayCount = 1 << 30;  // the reference's
inline constexpr int64_t kMaxGgufTensorNameBytes = 63;  // the reference's
inline constexpr int64_t kMaxGgufTensorRank = 4;        // the reference's
// Far beyond what file systems and accelerators ask for.
inline constexpr int64_t kMaxGgufAlignment = 1 << 20;
// Importance matrices: those of models with hundreds of experts reach 1 GB.
inline constexpr int64_t kMaxImatrixBytes = int64_t{2} << 30;
inline constexpr int64_t kMaxTensorsPerModel = 1 << 20;
inline constexpr int64_t kMaxTensorNameBytes = 1024;
inline constexpr int64_t kMaxTensorRank = 8;
inline constexpr int64_t kMaxShardsPerModel = 10'000;
inline constexpr int64_t kMaxJsonDepth = 64;
inline constexpr int64_t kMaxConfigBytes = 16 << 20;
// Values in a JSON document that is kept as a tree.
inline constexpr int64_t kMaxJsonNodes = 100'000;
inline constexpr int64_t kMaxIndexBytes = 256 << 20;
// Tokenizers: the largest that were seen have 262,208 tokens, 514,906 merges
// and 33 MB.
inline constexpr int64_t kMaxTokenizerBytes = 128 << 20;
inline constexpr int64_t kMaxTokens = 1 << 21;
inline constexpr int64_t kMaxMerges = 1 << 22;
inline constexpr int64_t kMaxTokenBytes = 1 << 16;
inline constexpr int64_t kMaxChatTemplateBytes = 1 << 20;
inline constexpr int64_t kMaxChatTemplates = 64;
// Decoders: what loaders of GGUF files take.
inline constexpr int64_t kMaxLayers = 512;
inline constexpr int64_t kMaxExperts = 512;
inline constexpr int64_t kMaxHeads = 1 << 16;
inline constexpr int64_t kMaxSideFileBytes = 1 << 30;
inline constexpr int64_t kMaxSideFiles = 1000;
// One row must fit a tile: 2^24 elements are 64 MiB of float32.
inline constexpr int64_t kMaxRowElements = int64_t{1} << 24;
inline constexpr int64_t kMaxGroupSize = 1 << 20;
// Forward passes. Rotary tables and scores are made per position.
inline constexpr int64_t kMaxPositions = int64_t{1} << 32;  // as configured
inline constexpr int64_t kMaxSequenceLength = 1 << 17;      // as run
// One matrix in memory as float32: 16 GiB.
inline constexpr int64_t kMaxMatrixElements = int64_t{1} << 32;
inline constexpr int64_t kMaxTokenFileBytes = int64_t{2} << 30;
inline constexpr int kMaxOutputsPerJob = 16;
inline constexpr int kMaxGatesPerJob = 32;
inline constexpr int kMaxRulesPerRecipe = 1000;
inline constexpr int64_t kMaxRuleMatchBytes = 512;
inline constexpr int64_t kMaxInlineTensorValues = 1 << 20;
inline constexpr int64_t kMaxUploadFiles = 10'000;
inline constexpr int kMaxThreads = 1024;

}  // namespace quant

#endif  // QUANT_CORE_BASE_LIMITS_H_
