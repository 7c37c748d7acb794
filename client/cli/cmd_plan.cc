#include <cmath>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/local_work.h"
#include "client/cli/output.h"
#include "client/cli/recipe_flags.h"
#include "client/cli/server_flags.h"
#include "client/cli/source.h"
#include "core/base/bytes.h"
#include "core/base/status_macros.h"
#include "core/recipe/recipe.h"

namespace quant::cli {
namespace {

std::string Bytes(int64_t bytes) {
  return absl::StrCat(bytes, " bytes (", FormatBytes(bytes), ")");
}

class PlanCommand : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option(
           "model", model_,
           "Model directory, .safetensors or .gguf file; server:PATH with "
           "--remote")
        ->required();
    recipe_.Add(app);
    threads_.Add(app);
    app.add_flag("--remote", remote_, "Ask the server");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(v1::JobSpec spec, recipe_.Build());
    QUANT_ASSIGN_OR_RETURN(
        const v1::JobPlan plan,
        remote_ || IsServerPath(model_) ? Remote(spec) : Local(spec));
    Print(plan);
    return 0;
  }

 private:
  absl::StatusOr<v1::JobPlan> Local(const v1::JobSpec& spec) {
    QUANT_ASSIGN_OR_RETURN(
        const LocalPlan local,
        PlanHere(model_, spec, threads_.Get(), recipe_.files()));
    return PlanToProto(*local.model, local.plan);
  }

  absl::StatusOr<v1::JobPlan> Remote(v1::JobSpec& spec) {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    QUANT_ASSIGN_OR_RETURN(*spec.mutable_source(),
                           ResolveSource(*client, model_));
    QUANT_RETURN_IF_ERROR(ResolveFiles(*client, recipe_.files(), spec));
    return client->Plan(spec);
  }

  void Print(const v1::JobPlan& plan) const {
    if (format_ == OutputFormat::kName) {
      std::cout << plan.fingerprint() << "\n";
      return;
    }
    if (format_ != OutputFormat::kTable) return PrintMessage(plan, format_);
    for (const v1::OutputPlan& output : plan.outputs()) PrintOutput(output);
    if (plan.dropped_size() > 0) PrintDropped(plan);
    PrintFacts({{"source", Bytes(plan.source_bytes())},
                {"memory bound", Bytes(plan.memory_bound_bytes())},
                {"disk bound", Bytes(plan.disk_bound_bytes())},
                {"fingerprint", plan.fingerprint()}});
    for (const std::string& note : plan.notes()) {
      std::cout << "note: " << Printable(note) << "\n";
    }
  }

  static void PrintOutput(const v1::OutputPlan& output) {
    std::cout << "output " << Printable(output.name()) << "\n";
    Table tensors(
        {"TENSOR", "SHAPE", "DTYPE", "SCHEME", "METHOD", "BYTES", "REASON"});
    for (const v1::TensorPlan& tensor : output.tensors()) {
      tensors.Add({tensor.name(),
                   absl::StrCat("[", absl::StrJoin(tensor.shape(), ", "), "]"),
                   tensor.dtype(),
                   tensor.scheme().empty() ? "copy" : tensor.scheme(),
                   tensor.method(), absl::StrCat(tensor.output_bytes()),
                   tensor.reason()});
    }
    tensors.Print();
    std::cout << "\n";
    Table files({"FILE", "BYTES"});
    for (const v1::PlannedFile& file : output.files()) {
      files.Add({file.path(), absl::StrCat(file.size_bytes())});
    }
    files.Print();
    std::cout << "\n";
    PrintFacts({{"total", Bytes(output.total_bytes())},
                {"bits per weight",
                 absl::StrFormat("%.4f", output.bits_per_weight())}});
    std::cout << "\n";
    if (output.frontier_size() > 0) PrintFrontier(output);
    if (!output.loader().empty()) PrintLoader(output);
  }

  static void PrintLoader(const v1::OutputPlan& output) {
    Table table({"LOADER", "SCHEMES", "TAKES", "NOTE", "SOURCE"});
    for (const v1::LoaderNote& note : output.loader_notes()) {
      table.Add({output.loader(), note.schemes(), note.verdict(), note.note(),
                 note.source()});
    }
    table.Print();
    std::cout << "\n";
  }

  static void PrintDropped(const v1::JobPlan& plan) {
    Table table({"DROPPED", "REASON"});
    for (const v1::DroppedTensor& dropped : plan.dropped()) {
      table.Add({dropped.name(), dropped.reason()});
    }
    table.Print();
    std::cout << "\n";
  }

  // What other targets would give; the error in decibels below the weights.
  static void PrintFrontier(const v1::OutputPlan& output) {
    Table table({"SIZE", "BYTES", "BITS PER WEIGHT", "SQNR DB", ""});
    for (const v1::SizeChoice& choice : output.frontier()) {
      table.Add({FormatBytes(choice.total_bytes()),
                 absl::StrCat(choice.total_bytes()),
                 absl::StrFormat("%.4f", choice.bits_per_weight()),
                 choice.relative_error() > 0
                     ? absl::StrFormat(
                           "%.2f", -10 * std::log10(choice.relative_error()))
                     : "-",
                 choice.planned() ? "planned" : ""});
    }
    table.Print();
    std::cout << "\n";
  }

  std::string model_;
  RecipeFlags recipe_;
  ThreadFlag threads_;
  bool remote_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakePlanCommand() {
  return std::make_unique<PlanCommand>();
}

}  // namespace quant::cli
