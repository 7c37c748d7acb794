// What makes the inputs of a block's weights, and so can divide them:
//
//   W x = (W diag(s)) (x / s)
//
//   q, k, v    the norm before attention
//   o          the rows of v. Several heads of o may read one of v: their
//              columns then share factors
//   gate, up   the norm before the MLP; not with experts, since the router
//              reads the same and stays as it is
//   down       the rows of up, which the gate only multiplies
//
// Legend: I columns of the readers.
#ifndef QUANT_CORE_CALIBRATE_FOLDING_H_
#define QUANT_CORE_CALIBRATE_FOLDING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "core/network/config.h"

namespace quant {

struct Fold {
  std::vector<std::string> readers;  // modules with the same inputs
  std::string source;                // the module that makes them
  bool is_norm = false;
  // What is added to a norm's weights before they are used.
  float norm_offset = 0;
  // [I]: which element of the norm, or row of the Linear, makes a column.
  std::vector<int32_t> rows;
  std::string obstacle;  // why inputs can't be divided; else empty
};

// One per input space of a layer (core/calibrate/input_spaces.h).
std::vector<Fold> FoldsOf(const NetworkConfig& config, int64_t layer);

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_FOLDING_H_
