#include "core/calibrate/statistics_files.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/checked_math.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/version.h"
#include "core/calibrate/calibration.h"
#include "core/calibrate/input_spaces.h"
#include "core/container/safetensors.h"
#include "core/kernels/gemm.h"

namespace quant {
namespace {

// What a block's file was made of, besides its weights.
constexpr char kTextKey[] = "text";
constexpr char kIsaKey[] = "instruction_set";
constexpr char kHessiansKey[] = "hessians";
using Origin = std::map<std::string, std::string>;

constexpr int64_t kRowsAtATime = 64;

template <typename T>
absl::Span<const uint8_t> BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()),
          values.size() * sizeof(T)};
}

// One block's file while it is written, under another name.
class BlockWriter {
 public:
  static absl::StatusOr<BlockWriter> Create(
      const std::string& path, const std::vector<InputSpace>& spaces,
      const Origin& origin) {
    std::vector<SafetensorsTensor> tensors;
    const auto add = [&](const Linear& linear, const char* what, DType dtype,
                         Shape shape) {
      tensors.push_back({.name = absl::StrCat(linear.name, ".", what),
                         .dtype = dtype,
                         .shape = std::move(shape)});
    };
    for (const InputSpace& space : spaces) {
      const int64_t columns = space.columns();
      for (const Linear* linear : space.linears) {
        add(*linear, "tokens", DType::kI64, {1});
        add(*linear, "min", DType::kF32, {columns});
        add(*linear, "max", DType::kF32, {columns});
        add(*linear, "sum_squares", DType::kF64, {columns});
      }
      if (origin.at(kHessiansKey) == "true") {
        add(*space.linears.front(), "hessian", DType::kF32, {columns, columns});
      }
    }
    QUANT_ASSIGN_OR_RETURN(SafetensorsLayout layout,
                           LayOutSafetensors(std::move(tensors), origin));
    QUANT_ASSIGN_OR_RETURN(File file, File::CreateNew(path + ".part"));
    QUANT_RETURN_IF_ERROR(file.Allocate(layout.file_size));
    BlockWriter writer(std::move(file), path);
    writer.data_start_ = static_cast<int64_t>(layout.header.size());
    QUANT_RETURN_IF_ERROR(writer.file_.WriteAt(
        0, {reinterpret_cast<const uint8_t*>(layout.header.data()),
            layout.header.size()}));
    for (const SafetensorsTensor& tensor : layout.tensors) {
      writer.offsets_[tensor.name] = writer.data_start_ + tensor.begin;
    }
    return writer;
  }

  absl::Status Put(const InputSpace& space, const InputStatistics& seen) {
    const std::vector<int64_t> tokens = {seen.tokens()};
    for (const Linear* linear : space.linears) {
      const auto put = [&](const char* what, absl::Span<const uint8_t> bytes) {
        return file_.WriteAt(OffsetOf(*linear, what), bytes);
      };
      QUANT_RETURN_IF_ERROR(put("tokens", BytesOf(tokens)));
      QUANT_RETURN_IF_ERROR(put("min", BytesOf(seen.lo())));
      QUANT_RETURN_IF_ERROR(put("max", BytesOf(seen.hi())));
      QUANT_RETURN_IF_ERROR(put("sum_squares", BytesOf(seen.sum_squares())));
    }
    if (seen.hessian().empty()) return absl::OkStatus();
    return PutHessian(OffsetOf(*space.linears.front(), "hessian"), seen);
  }

  absl::Status Finish() {
    QUANT_RETURN_IF_ERROR(file_.Sync());
    return Rename(file_.path(), path_);
  }

 private:
  BlockWriter(File file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

  int64_t OffsetOf(const Linear& linear, const char* what) const {
    return offsets_.at(absl::StrCat(linear.name, ".", what));
  }

  // The upper triangle, and the same below the diagonal.
  absl::Status PutHessian(int64_t offset, const InputStatistics& seen) {
    const int64_t n = seen.columns();
    const float* upper = seen.hessian().data();
    std::vector<float> rows;
    for (int64_t first = 0; first < n; first += kRowsAtATime) {
      const int64_t count = std::min(kRowsAtATime, n - first);
      rows.resize(count * n);
      for (int64_t c = 0; c < first; ++c) {
        for (int64_t r = 0; r < count; ++r) {
          rows[r * n + c] = upper[c * n + first + r];
        }
      }
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t c = first; c < n; ++c) {
          const int64_t low = std::min(first + r, c);
          const int64_t high = std::max(first + r, c);
          rows[r * n + c] = upper[low * n + high];
        }
      }
      QUANT_RETURN_IF_ERROR(file_.WriteAt(
          offset + first * n * static_cast<int64_t>(sizeof(float)),
          BytesOf(rows)));
    }
    return absl::OkStatus();
  }

  File file_;
  std::string path_;
  int64_t data_start_ = 0;
  std::map<std::string, int64_t> offsets_;  // by tensor, in the file
};

class StatisticsRun {
 public:
  StatisticsRun(const Network& network, const DatasetFile& text,
                const StatisticsRequest& request, const RunOptions& options)
      : network_(network),
        text_(text),
        request_(request),
        options_(options),
        passes_(network, SequencesOf(text.data), options) {}

  absl::StatusOr<StatisticsWritten> Run() {
    QUANT_RETURN_IF_ERROR(MakeDirectories(request_.directory));
    QUANT_RETURN_IF_ERROR(BeginFiles());
    QUANT_ASSIGN_OR_RETURN(
        HiddenStates states,
        network_.Embed(SequencesOf(text_.data), options_.spill));
    written_.blocks = passes_.count();
    for (int64_t layer = 0; layer < passes_.count(); ++layer) {
      QUANT_ASSIGN_OR_RETURN(Block block, passes_.Load(layer));
      QUANT_ASSIGN_OR_RETURN(const bool kept, Has(layer, block));
      written_.blocks_kept += kept;
      QUANT_RETURN_IF_ERROR(kept ? passes_.Advance(block, layer, {}, states)
                                 : Measure(layer, block, states));
      QUANT_RETURN_IF_ERROR(AddDigest(layer));
      if (!options_.progress) continue;
      options_.progress(static_cast<double>(layer + 1) /
                        static_cast<double>(passes_.count()));
    }
    QUANT_RETURN_IF_ERROR(WriteFileAtomically(PathOf(kStatisticsName),
                                              Description(), /*sync=*/true));
    return written_;
  }

 private:
  std::string PathOf(absl::string_view name) const {
    return JoinPath(request_.directory, name);
  }

  absl::Status Exists(const std::string& path) const {
    return MakeError(absl::StatusCode::kAlreadyExists, Reason::kOutputExists,
                     absl::StrCat(path,
                                  ": is there, and not of this text and model; "
                                  "choose another directory, or --overwrite"));
  }

  // What is complete says so; from here on nothing is.
  absl::Status BeginFiles() const {
    const std::string path = PathOf(kStatisticsName);
    if (!PathExists(path)) return absl::OkStatus();
    return request_.overwrite ? RemoveTree(path) : Exists(path);
  }

  Origin OriginOf(Block& block) const {
    return {{kTextKey, text_.data.digest},
            {kIsaKey, GemmIsa()},
            {kHessiansKey, request_.hessians ? "true" : "false"},
            {kWeightsKey, DigestOfWeights(block)}};
  }

  absl::StatusOr<bool> Has(int64_t layer, Block& block) const {
    const std::string path = PathOf(BlockFileName(layer));
    if (!PathExists(path)) return false;
    QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(path));
    const auto header = ReadSafetensorsHeader(file);
    if (header.ok() && header->metadata == OriginOf(block)) return true;
    if (request_.overwrite) return false;
    return Exists(path);
  }

  absl::Status Measure(int64_t layer, Block& block, HiddenStates& states) {
    const std::vector<InputSpace> spaces = InputSpacesOf(block);
    QUANT_ASSIGN_OR_RETURN(BlockWriter writer,
                           BlockWriter::Create(PathOf(BlockFileName(layer)),
                                               spaces, OriginOf(block)));
    const auto phases = PhasesOf(spaces, request_.hessians, /*by_stage=*/false);
    for (size_t p = 0; p < phases.size(); ++p) {
      Collector collector(*options_.pool, phases[p], request_.hessians);
      const bool last = p + 1 == phases.size();
      QUANT_RETURN_IF_ERROR(
          last ? passes_.Advance(block, layer, collector.observer(), states)
               : passes_.Observe(block, layer, collector.observer(), states));
      for (size_t i = 0; i < phases[p].size(); ++i) {
        QUANT_RETURN_IF_ERROR(writer.Put(phases[p][i], collector.of(i)));
        collector.Drop(i);
      }
    }
    return writer.Finish();
  }

  absl::Status AddDigest(int64_t layer) {
    const std::string path = PathOf(BlockFileName(layer));
    QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(path));
    QUANT_ASSIGN_OR_RETURN(std::string sha256, Sha256OfFile(path));
    written_.bytes += identity.size_bytes;
    sizes_.push_back(identity.size_bytes);
    digests_.push_back(std::move(sha256));
    return absl::OkStatus();
  }

  std::string Description() const {
    nlohmann::ordered_json out;
    out["format"] = kStatisticsFormat;
    out["engine"] = absl::StrCat("quantd ", kVersion);
    out[kIsaKey] = GemmIsa();
    out[kHessiansKey] = request_.hessians;
    out["text"] = {{"name", text_.name},
                   {"size_bytes", text_.size_bytes},
                   {"sha256", text_.sha256},
                   {"sequences", text_.data.sequences},
                   {"sequence_length", text_.data.sequence_length},
                   {"ids_sha256", text_.data.digest}};
    out["block_bytes"] = sizes_;
    out["block_sha256"] = digests_;
    // A file may have any name.
    constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
    return out.dump(2, ' ', false, kReplace) + "\n";
  }

  const Network& network_;
  const DatasetFile& text_;
  const StatisticsRequest& request_;
  const RunOptions& options_;
  const BlockPasses passes_;
  StatisticsWritten written_;
  std::vector<int64_t> sizes_;
  std::vector<std::string> digests_;
};

}  // namespace

std::string BlockFileName(int64_t layer) {
  return absl::StrFormat("block-%05d.safetensors", layer);
}

std::string DigestOfWeights(Block& block) {
  Xxh3Stream digest;
  for (const InputSpace& space : InputSpacesOf(block)) {
    for (const Linear* linear : space.linears) {
      digest.Update(BytesOf(linear->weight));
    }
  }
  return digest.Hex();
}

absl::StatusOr<StatisticsWritten> WriteStatistics(
    const ModelReader& model, const DatasetFile& text,
    const StatisticsRequest& request, const RunOptions& options) {
  QUANT_ASSIGN_OR_RETURN(const auto network, Network::Open(model));
  QUANT_RETURN_IF_ERROR(network->CheckSequences(SequencesOf(text.data)));
  return StatisticsRun(*network, text, request, options).Run();
}

}  // namespace quant
