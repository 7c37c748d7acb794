// What a network is run over, as the rooms above it know it.
#ifndef QUANT_CORE_CALIBRATE_CALIBRATION_H_
#define QUANT_CORE_CALIBRATE_CALIBRATION_H_

#include "core/network/network.h"
#include "core/tokenizer/dataset.h"

namespace quant {

// Refers to the data.
inline Sequences SequencesOf(const Dataset& data) {
  return {.tokens = data.ids, .length = data.sequence_length};
}

}  // namespace quant

#endif  // QUANT_CORE_CALIBRATE_CALIBRATION_H_
