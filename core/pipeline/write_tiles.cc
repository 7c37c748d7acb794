#include "core/pipeline/write_tiles.h"

#include <algorithm>
#include <tuple>

#include "core/base/status_macros.h"

namespace quant {

absl::Status WriteTiles(const std::vector<OutputFiles>& files,
                        TileResults& tiles) {
  std::vector<const WrittenBytes*> all;
  for (const auto& [index, tile] : tiles) {
    for (const WrittenBytes& written : tile.written) all.push_back(&written);
  }
  std::stable_sort(all.begin(), all.end(), [](const auto* a, const auto* b) {
    return std::tie(a->task, a->file, a->offset) <
           std::tie(b->task, b->file, b->offset);
  });
  for (size_t i = 0; i < all.size();) {
    const WrittenBytes& first = *all[i];
    std::vector<absl::Span<const uint8_t>> parts;
    int64_t end = first.offset;
    for (; i < all.size() && all[i]->task == first.task &&
           all[i]->file == first.file && all[i]->offset == end;
         ++i) {
      parts.push_back(all[i]->bytes);
      end += static_cast<int64_t>(all[i]->bytes.size());
    }
    QUANT_RETURN_IF_ERROR(
        files[first.task][first.file].WriteParts(first.offset, parts));
  }
  for (auto& [index, tile] : tiles) {
    std::erase_if(tile.written, [](const auto& w) { return !w.kept; });
  }
  return absl::OkStatus();
}

}  // namespace quant
