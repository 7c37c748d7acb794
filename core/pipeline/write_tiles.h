// Encoded tiles to the files of their outputs.
#ifndef QUANT_CORE_PIPELINE_WRITE_TILES_H_
#define QUANT_CORE_PIPELINE_WRITE_TILES_H_

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "core/pipeline/tile_worker.h"

namespace quant {

// By index.
using TileResults = std::map<int64_t, TileResult>;

// Writes what the tiles hold, adjoining bytes together, and leaves them what is
// kept. `files` [output][file].
absl::Status WriteTiles(const std::vector<OutputFiles>& files,
                        TileResults& tiles);

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_WRITE_TILES_H_
