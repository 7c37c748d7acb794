#include "core/pipeline/request_files.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/artifact/quantized_model.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/limits.h"
#include "core/base/status_macros.h"
#include "core/network/config.h"
#include "core/pipeline/input_survey.h"
#include "core/tokenizer/tokenizer.h"
#include "core/transform/dequantized_model.h"
#include "core/transform/restored_model.h"

namespace quant {
namespace {

constexpr int64_t kDefaultLength = 2048;

absl::StatusOr<std::string> TheFile(const std::string& path,
                                    absl::string_view what) {
  if (!IsDirectory(path)) return path;
  QUANT_ASSIGN_OR_RETURN(const std::vector<DirEntry> entries,
                         ListDirectory(path));
  if (entries.size() != 1) {
    return InvalidSpec(absl::StrCat(path, ": holds ", entries.size(),
                                    " files; one is expected"),
                       what);
  }
  return JoinPath(path, entries[0].name);
}

// A model with the config and the tokenizer of a checkpoint.
struct Checkpoint {
  std::vector<std::unique_ptr<ModelReader>> views;
  const ModelReader* model = nullptr;

  static absl::StatusOr<Checkpoint> Of(const ModelReader& source) {
    Checkpoint out;
    out.model = &source;
    if (source.kvs().empty()) return out;
    if (HasBlocks(source)) {
      QUANT_ASSIGN_OR_RETURN(auto floats, DequantizedModel(source));
      out.model = out.views.emplace_back(std::move(floats)).get();
    }
    QUANT_ASSIGN_OR_RETURN(auto restored, RestoredModel::Create(*out.model));
    out.model = out.views.emplace_back(std::move(restored)).get();
    return out;
  }
};

// At most, of what tokenizing `bytes` of text takes: kMaxDocumentBytes says
// why; vocabularies and merges become tables.
int64_t TokenizingBytes(const ModelReader& model, int64_t bytes) {
  int64_t files = 0;
  for (const SideFile& file : model.side_files()) files += file.size_bytes;
  for (const MadeFile& file : model.made_files()) {
    files += static_cast<int64_t>(file.text.size());
  }
  return 41 * bytes + 24 * files;
}

absl::StatusOr<int64_t> LengthOf(const NetworkConfig& config, int64_t asked,
                                 absl::string_view use) {
  const int64_t most = std::min(config.max_positions, kMaxSequenceLength);
  if (asked == 0) return std::min(most, kDefaultLength);
  if (asked >= 2 && asked <= most) return asked;
  return InvalidSpec(absl::StrCat("a sequence length of ", asked,
                                  "; this model takes 2 to ", most),
                     absl::StrCat(use, ".sequence_length"));
}

absl::Status CheckSize(const std::string& file, int64_t bytes, int64_t most) {
  if (!HoldsText(file) || bytes <= most) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kResourceExhausted, Reason::kInvalidSpec,
      absl::StrCat(file, ": a text of ", bytes, " bytes; at most ", most,
                   " are allowed here; give less of it, or token ids in .npy "
                   "or .safetensors"));
}

absl::StatusOr<DatasetFile> Load(const ModelReader& model,
                                 const std::string& file,
                                 const TextSource& source,
                                 absl::string_view use) {
  DatasetFile out;
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
  QUANT_RETURN_IF_ERROR(
      CheckSize(file, identity.size_bytes, source.max_text_bytes));
  QUANT_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Of(model));
  QUANT_ASSIGN_OR_RETURN(const NetworkConfig config,
                         ParseNetworkConfig(checkpoint.model->config_json()));
  DatasetOptions options{.max_sequences = source.max_sequences,
                         .bos = source.bos,
                         .vocabulary = config.vocabulary};
  QUANT_ASSIGN_OR_RETURN(options.sequence_length,
                         LengthOf(config, source.sequence_length, use));
  std::unique_ptr<const Tokenizer> tokenizer;
  out.memory_bytes = 3 * identity.size_bytes;
  if (HoldsText(file)) {
    QUANT_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Of(*checkpoint.model));
    out.memory_bytes = TokenizingBytes(*checkpoint.model, identity.size_bytes);
  }
  QUANT_ASSIGN_OR_RETURN(out.data, LoadDataset(file, tokenizer.get(), options));
  QUANT_ASSIGN_OR_RETURN(out.sha256, Sha256OfFile(file));
  out.size_bytes = identity.size_bytes;
  out.name = file.substr(file.rfind('/') + 1);
  return out;
}

// Whether what was kept of a text is enough for the output.
absl::Status CheckServes(const StoredStatistics& statistics,
                         const OutputRequest& output, int64_t layers) {
  QUANT_ASSIGN_OR_RETURN(const QuantMethod* method, FindMethod(output.method));
  std::string why;
  if (statistics.blocks() != layers) {
    why = absl::StrCat("of ", statistics.blocks(),
                       " blocks, while the model has ", layers);
  } else if (method->Needs() == Statistics::kHessian &&
             !statistics.has_hessians()) {
    why = absl::StrCat("without Hessians, which method \"", output.method,
                       "\" needs");
  } else if (output.true_sequential) {
    why =
        "of a model before anything was quantized, but true_sequential asks "
        "for what comes of quantized weights; leave that out, or give the "
        "text";
  }
  if (why.empty()) return absl::OkStatus();
  return InvalidSpec(absl::StrCat("the statistics are ", why), "calibration");
}

// Statistics in the place of a text.
absl::Status TakeStatistics(const ModelReader& model, const std::string& path,
                            absl::Span<OutputRequest* const> users) {
  QUANT_ASSIGN_OR_RETURN(StoredStatistics opened, StoredStatistics::Open(path));
  QUANT_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Of(model));
  QUANT_ASSIGN_OR_RETURN(const NetworkConfig config,
                         ParseNetworkConfig(checkpoint.model->config_json()));
  const auto layers = static_cast<int64_t>(config.layers.size());
  const auto text = std::make_shared<const DatasetFile>(opened.text());
  const auto statistics =
      std::make_shared<const StoredStatistics>(std::move(opened));
  for (OutputRequest* output : users) {
    QUANT_RETURN_IF_ERROR(
        Annotate(CheckServes(*statistics, *output, layers), path));
    output->calibration = text;
    output->statistics = statistics;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status LoadImportance(const std::string& path, PlanRequest& request) {
  QUANT_ASSIGN_OR_RETURN(const std::string file, TheFile(path, "imatrix"));
  auto importance = std::make_shared<Importance>();
  QUANT_ASSIGN_OR_RETURN(importance->matrix, ReadImatrix(file));
  QUANT_ASSIGN_OR_RETURN(importance->sha256, Sha256OfFile(file));
  QUANT_ASSIGN_OR_RETURN(const FileIdentity identity, IdentityOf(file));
  importance->size_bytes = identity.size_bytes;
  importance->file_name = file.substr(file.rfind('/') + 1);
  for (OutputRequest& output : request.outputs) output.importance = importance;
  return absl::OkStatus();
}

absl::StatusOr<DatasetFile> LoadText(const ModelReader& model,
                                     const TextSource& source,
                                     absl::string_view use) {
  QUANT_ASSIGN_OR_RETURN(const std::string file, TheFile(source.path, use));
  auto loaded = Load(model, file, source, use);
  if (loaded.ok()) return loaded;
  const std::string field = GetField(loaded.status());
  return MakeError(
      loaded.status().code(), GetReason(loaded.status()),
      absl::StrCat(use, ": ", std::string(loaded.status().message())),
      field.empty() ? use : field);
}

absl::Status LoadEvaluation(const ModelReader& model, const TextSource& source,
                            PlanRequest& request) {
  auto evaluation = std::make_shared<EvaluationText>();
  QUANT_ASSIGN_OR_RETURN(evaluation->text,
                         LoadText(model, source, "evaluation"));
  QUANT_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Of(model));
  QUANT_ASSIGN_OR_RETURN(evaluation->network,
                         ParseNetworkConfig(checkpoint.model->config_json()));
  request.evaluation = std::move(evaluation);
  return absl::OkStatus();
}

absl::Status LoadCalibration(const ModelReader& model, const TextSource& source,
                             PlanRequest& request) {
  std::vector<OutputRequest*> users;
  for (OutputRequest& output : request.outputs) {
    QUANT_ASSIGN_OR_RETURN(const QuantMethod* method,
                           FindMethod(output.method));
    if (method->Needs() != Statistics::kNone || HasStaticInputs(output) ||
        WeighsByText(output)) {
      users.push_back(&output);
    }
  }
  if (users.empty()) {
    std::string methods;
    for (const MethodInfo& info : Methods()) {
      if ((*FindMethod(info.name))->Needs() == Statistics::kNone) continue;
      absl::StrAppend(&methods, "\"", info.name, "\", ");
    }
    return InvalidSpec(
        absl::StrCat("calibration ", source.path,
                     ": no output uses it; methods ", methods,
                     "schemes \"FP8\" and \"W8A8_STATIC\", and GGUF types "
                     "without --imatrix do"),
        "calibration");
  }
  if (StoredStatistics::IsAt(source.path)) {
    return TakeStatistics(model, source.path, users);
  }
  QUANT_ASSIGN_OR_RETURN(DatasetFile text,
                         LoadText(model, source, "calibration"));
  const auto calibration = std::make_shared<const DatasetFile>(std::move(text));
  for (OutputRequest* output : users) output->calibration = calibration;
  return absl::OkStatus();
}

}  // namespace quant
