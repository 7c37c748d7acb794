#include <algorithm>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/command.h"
#include "client/cli/dataset_flags.h"
#include "client/cli/interrupt.h"
#include "client/cli/local_work.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/text_limits.h"
#include "core/base/thread_pool.h"
#include "core/calibrate/importance.h"
#include "core/calibrate/statistics_files.h"
#include "core/calibrate/stored_statistics.h"
#include "core/container/imatrix.h"
#include "core/pipeline/request_files.h"
#include "core/pipeline/value_model.h"
#include "core/tokenizer/tokenizer.h"
#include "quant/v1/dataset.pb.h"

namespace quant::cli {
namespace {

// How much of the data is shown.
constexpr int64_t kShownSequences = 3;
constexpr int64_t kShownTokens = 32;

class Calibrate : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("model", model_, "Model directory")->required();
    app.add_option("--data,--calibration", text_.path,
                   "Text, .jsonl, or token ids in .npy or .safetensors")
        ->required();
    app.add_option("--seq-len,--sequence-length", text_.sequence_length,
                   "Tokens per sequence [the model's context, at most 2048]")
        ->check(CLI::PositiveNumber);
    app.add_option("--samples,--calibration-sequences", text_.max_sequences,
                   "Sequences at most")
        ->default_val(128);
    bos_.Add(app);
    auto* preview = app.add_flag(
        "--preview", preview_, "Show what the model will see, and run nothing");
    app.add_option("--output", output_,
                   "File for the importance matrix, as llama.cpp has it (GGUF)")
        ->excludes(preview);
    app.add_option("--statistics", statistics_.directory,
                   "Directory for all that later jobs need, to be given as "
                   "their --calibration; an interrupted run goes on there")
        ->excludes(preview);
    app.add_flag(
        "!--no-hessians", statistics_.hessians,
        "Leave out of it what gptq and awq need, and most of its size");
    app.add_flag("--overwrite", overwrite_, "Replace what is there");
    app.add_option("--spill-dir", spill_.directory,
                   "Where hidden states go that don't fit 4 GiB")
        ->capture_default_str();
    threads_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(text_.bos, bos_.Get());
    text_.max_text_bytes = kMaxTextFileBytes;
    if (!preview_) QUANT_RETURN_IF_ERROR(CheckOutput());
    QUANT_ASSIGN_OR_RETURN(const ValueModel model, ValueModel::Open(model_));
    QUANT_ASSIGN_OR_RETURN(const DatasetFile text,
                           LoadText(model.stored(), text_, "calibration"));
    return preview_ ? Preview(text.data) : Measure(model, text);
  }

 private:
  absl::StatusOr<int> Preview(const Dataset& data) const {
    std::unique_ptr<const Tokenizer> tokenizer;
    // Ids can be shown without.
    if (auto opened = Tokenizer::Open(model_); opened.ok()) {
      tokenizer = *std::move(opened);
    }
    Print(Describe(data, tokenizer.get()));
    return 0;
  }

  absl::StatusOr<int> Measure(const ValueModel& model,
                              const DatasetFile& text) const {
    InterruptScope interrupt;
    ThreadPool pool(threads_.Get());
    ProgressMeter meter("calibrate");
    RunOptions options;
    options.pool = &pool;
    options.stop = interrupt.token();
    options.spill = spill_;
    options.progress = [&](double fraction) {
      meter.Show("calibrate", fraction, "");
    };
    if (!statistics_.directory.empty()) {
      QUANT_ASSIGN_OR_RETURN(const StatisticsWritten written,
                             KeepStatistics(model, text, options));
      meter.End();
      PrintStatistics(written);
    }
    if (!output_.empty()) {
      QUANT_ASSIGN_OR_RETURN(const Imatrix matrix,
                             MatrixOf(model, text, options));
      meter.End();
      QUANT_RETURN_IF_ERROR(WriteImatrix(matrix, output_));
      PrintMatrix(matrix);
    }
    return 0;
  }

  absl::StatusOr<StatisticsWritten> KeepStatistics(
      const ValueModel& model, const DatasetFile& text,
      const RunOptions& options) const {
    StatisticsRequest request = statistics_;
    request.overwrite = overwrite_;
    return WriteStatistics(model.values(), text, request, options);
  }

  void PrintStatistics(const StatisticsWritten& written) const {
    PrintFacts({{"statistics", statistics_.directory},
                {"blocks", absl::StrCat(written.blocks)},
                {"kept of an earlier run", absl::StrCat(written.blocks_kept)},
                {"bytes", absl::StrCat(written.bytes)}});
  }

  // Of what was just kept, where it was: the text is run once.
  absl::StatusOr<Imatrix> MatrixOf(const ValueModel& model,
                                   const DatasetFile& text,
                                   const RunOptions& options) const {
    if (statistics_.directory.empty()) {
      return MeasureImportance(model.values(), text, options);
    }
    QUANT_ASSIGN_OR_RETURN(const StoredStatistics stored,
                           StoredStatistics::Open(statistics_.directory));
    QUANT_ASSIGN_OR_RETURN(const InputSummaries summaries, stored.Summaries());
    return ImportanceOf(model.values(), text, summaries);
  }

  absl::Status CheckOutput() const {
    if (output_.empty() && statistics_.directory.empty()) {
      return InvalidSpec(
          "calibrate: --statistics DIR, --output FILE or --preview is needed");
    }
    const bool in_the_way = !output_.empty() && PathExists(output_);
    if (overwrite_ || !in_the_way) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kAlreadyExists, Reason::kOutputExists,
        absl::StrCat(output_, ": is there; choose another, or --overwrite"));
  }

  void PrintMatrix(const Imatrix& matrix) const {
    int64_t unseen = 0;
    for (const auto& [name, entry] : matrix.entries) {
      for (int64_t count : entry.counts) unseen += count == 0;
    }
    PrintFacts({{"importance matrix", output_},
                {"weights", absl::StrCat(matrix.entries.size())},
                {"experts without tokens", absl::StrCat(unseen)},
                {"sequences", absl::StrCat(matrix.chunks)},
                {"sequence length", absl::StrCat(matrix.chunk_tokens)}});
  }

  static v1::DatasetPreview Describe(const Dataset& data,
                                     const Tokenizer* tokenizer) {
    v1::DatasetPreview out;
    out.set_sequences(data.sequences);
    out.set_sequence_length(data.sequence_length);
    out.set_documents(data.documents);
    out.set_tokens(data.tokens);
    out.set_unknown_characters(data.unknown);
    out.set_sha256(data.digest);
    const int64_t shown = std::min(data.sequences, kShownSequences);
    for (int64_t i = 0; i < shown; ++i) {
      auto* first = out.add_first();
      std::string text;
      const int64_t length = std::min(data.sequence_length, kShownTokens);
      for (int64_t k = 0; k < length; ++k) {
        const int32_t id = data.ids[i * data.sequence_length + k];
        first->add_ids(id);
        if (tokenizer != nullptr) text += tokenizer->TextOf(id);
      }
      first->set_text(ShownText(text));
    }
    return out;
  }

  void Print(const v1::DatasetPreview& preview) const {
    if (format_ != OutputFormat::kTable && format_ != OutputFormat::kName) {
      return PrintMessage(preview, format_);
    }
    if (format_ == OutputFormat::kName) {
      std::cout << preview.sha256() << "\n";
      return;
    }
    PrintFacts(
        {{"sequences", absl::StrCat(preview.sequences())},
         {"sequence length", absl::StrCat(preview.sequence_length())},
         {"documents read", absl::StrCat(preview.documents())},
         {"tokens read", absl::StrCat(preview.tokens())},
         {"unknown characters", absl::StrCat(preview.unknown_characters())},
         {"sha256", preview.sha256()}});
    Table table({"SEQUENCE", "FIRST TOKENS"});
    for (int i = 0; i < preview.first_size(); ++i) {
      table.Add(
          {absl::StrCat(i), absl::StrCat("\"", preview.first(i).text(), "\"")});
    }
    std::cout << "\n";
    table.Print();
  }

  std::string model_;
  TextSource text_;
  BosFlag bos_;
  bool preview_ = false;
  std::string output_;
  StatisticsRequest statistics_;
  bool overwrite_ = false;
  SpillOptions spill_;
  ThreadFlag threads_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeCalibrate() {
  return std::make_unique<Calibrate>();
}

}  // namespace quant::cli
