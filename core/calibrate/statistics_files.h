// What calibration saw of a network, as files that later jobs take in the place
// of a text: one calibration, many outputs.
//
//   statistics.json          the text, the engine, and size and SHA-256 of the
//                            others; written last
//   block-00007.safetensors  of every weight of a block, by its module M
//     M.tokens                 I64 [1], that its inputs come from
//     M.min, M.max             F32 [I], per column; 0 counts as seen
//     M.sum_squares            F64 [I]
//     M.hessian                F32 [I, I], 2 sum x x^T; of modules with the
//                              same inputs the first has it
//
// The network is the source as it is: blocks do not see what quantized ones
// before them do. Hessians are the same bits on one kind of CPU only.
//
// Legend: I input columns.
#ifndef QUANT_CORE_CALIBRATE_STATISTICS_FILES_H_
#define QUANT_CORE_CALIBRATE_STATISTICS_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/container/model_reader.h"
#include "core/network/block.h"
#include "core/network/network.h"
#include "core/tokenizer/dataset.h"

namespace quant {

inline constexpr char kStatisticsName[] = "statistics.json";
// The value of its key "format".
inline constexpr char kStatisticsFormat[] = "quant-statistics-v1";
// The key of a block's metadata that says which weights its inputs are of.
inline constexpr char kWeightsKey[] = "weights_xxh3";

// "block-00007.safetensors"
std::string BlockFileName(int64_t layer);

// XXH3 of the values of all Linears of a block, in hex.
std::string DigestOfWeights(Block& block);

struct StatisticsRequest {
  std::string directory;  // made when it is not there
  bool hessians = true;
  bool overwrite = false;  // what other runs left there
};

struct StatisticsWritten {
  int64_t blocks = 0;
  int64_t blocks_kept = 0;  // that an interrupted run of the same left
  int64_t bytes = 0;
};

// Runs `text` through the model and writes all of the files. A block's file is
// written whole or not at all, so that an interrupted run goes on after it.
// ALREADY_EXISTS OUTPUT_EXISTS for a directory with statistics of anything
// else; errors of Network::Open and CheckSequences; CANCELLED when stopped.
absl::StatusOr<StatisticsWritten> WriteStatistics(
    const ModelReader& model, const DatasetFile& text,
    const StatisticsRequest& request, const RunOptions& options);

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_STATISTICS_FILES_H_
