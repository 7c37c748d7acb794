#include "core/calibrate/input_summary.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/status_macros.h"
#include "core/calibrate/calibration.h"
#include "core/calibrate/input_spaces.h"

namespace quant {
namespace {

uint64_t DigestOf(absl::string_view bytes) {
  return Xxh3(absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

void Append(const void* data, size_t bytes, std::string& out) {
  out.append(static_cast<const char*>(data), bytes);
}

// Pieces of bytes, one behind the other; false when there are not so many.
class Pieces {
 public:
  explicit Pieces(absl::string_view bytes) : bytes_(bytes) {}

  bool Take(void* out, size_t count) {
    if (count > bytes_.size()) return false;
    std::memcpy(out, bytes_.data(), count);
    bytes_.remove_prefix(count);
    return true;
  }
  bool TakeText(int64_t count, std::string& out) {
    if (count < 0 || static_cast<uint64_t>(count) > bytes_.size()) return false;
    out.assign(bytes_.data(), count);
    bytes_.remove_prefix(count);
    return true;
  }
  bool TakeFloats(int64_t count, std::vector<float>& out) {
    if (count < 0 || static_cast<uint64_t>(count) > bytes_.size() / 4) {
      return false;
    }
    out.resize(count);
    return Take(out.data(), 4 * count);
  }
  bool empty() const { return bytes_.empty(); }

 private:
  absl::string_view bytes_;
};

}  // namespace

InputSummary SummaryOf(const InputStatistics& statistics) {
  InputSummary summary;
  summary.tokens = statistics.tokens();
  const double tokens =
      static_cast<double>(std::max<int64_t>(summary.tokens, 1));
  for (int64_t i = 0; i < statistics.columns(); ++i) {
    summary.absmax.push_back(statistics.absmax(i));
    summary.mean_square.push_back(
        static_cast<float>(statistics.sum_squares()[i] / tokens));
  }
  return summary;
}

absl::StatusOr<InputSummaries> SummarizeInputs(const ModelReader& model,
                                               const Dataset& data,
                                               const RunOptions& options) {
  QUANT_ASSIGN_OR_RETURN(const auto network, Network::Open(model));
  const Sequences sequences = SequencesOf(data);
  QUANT_RETURN_IF_ERROR(network->CheckSequences(sequences));
  QUANT_ASSIGN_OR_RETURN(HiddenStates states,
                         network->Embed(sequences, options.spill));
  const BlockPasses passes(*network, sequences, options);
  InputSummaries summaries;
  KeptStates kept(options.keep);
  std::string notes;
  QUANT_ASSIGN_OR_RETURN(const int64_t first,
                         kept.Load(passes.count(), {&states}, notes));
  if (first > 0) {
    auto found = UnsealSummaries(notes);
    if (!found) {
      return MakeError(absl::StatusCode::kDataLoss, Reason::kInternal,
                       "kept states: no summaries of inputs beside them");
    }
    summaries = *std::move(found);
  }
  for (int64_t layer = first; layer < passes.count(); ++layer) {
    QUANT_ASSIGN_OR_RETURN(Block block, passes.Load(layer));
    const std::vector<InputSpace> spaces = InputSpacesOf(block);
    Collector collector(*options.pool, spaces, /*with_hessians=*/false);
    QUANT_RETURN_IF_ERROR(
        passes.Advance(block, layer, collector.observer(), states));
    for (size_t i = 0; i < spaces.size(); ++i) {
      const InputSummary summary = SummaryOf(collector.of(i));
      for (const Linear* linear : spaces[i].linears) {
        summaries[absl::StrCat(linear->name, ".weight")] = summary;
      }
    }
    QUANT_RETURN_IF_ERROR(
        kept.Store(layer + 1, {&states}, SealSummaries(summaries)));
    if (options.progress) {
      options.progress(static_cast<double>(layer + 1) /
                       static_cast<double>(passes.count()));
    }
  }
  return summaries;
}

std::string SealSummaries(const InputSummaries& summaries) {
  std::string out;
  for (const auto& [name, summary] : summaries) {
    const int64_t sizes[3] = {static_cast<int64_t>(name.size()),
                              static_cast<int64_t>(summary.absmax.size()),
                              summary.tokens};
    Append(sizes, sizeof(sizes), out);
    Append(name.data(), name.size(), out);
    Append(summary.absmax.data(), 4 * summary.absmax.size(), out);
    Append(summary.mean_square.data(), 4 * summary.mean_square.size(), out);
  }
  const uint64_t digest = DigestOf(out);
  Append(&digest, sizeof(digest), out);
  return out;
}

std::optional<InputSummaries> UnsealSummaries(absl::string_view bytes) {
  uint64_t digest = 0;
  if (bytes.size() < sizeof(digest)) return std::nullopt;
  const absl::string_view body = bytes.substr(0, bytes.size() - sizeof(digest));
  std::memcpy(&digest, bytes.data() + body.size(), sizeof(digest));
  if (digest != DigestOf(body)) return std::nullopt;
  InputSummaries summaries;
  for (Pieces pieces(body); !pieces.empty();) {
    int64_t sizes[3];
    std::string name;
    InputSummary summary;
    if (!pieces.Take(sizes, sizeof(sizes)) ||
        !pieces.TakeText(sizes[0], name) ||
        !pieces.TakeFloats(sizes[1], summary.absmax) ||
        !pieces.TakeFloats(sizes[1], summary.mean_square)) {
      return std::nullopt;
    }
    summary.tokens = sizes[2];
    summaries[name] = std::move(summary);
  }
  return summaries;
}

}  // namespace quant
