#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/local_work.h"
#include "client/cli/output.h"
#include "client/cli/server_flags.h"
#include "client/cli/source.h"
#include "core/base/bytes.h"
#include "core/base/status_macros.h"
#include "core/base/thread_pool.h"
#include "core/container/model_reader.h"
#include "core/recipe/describe.h"

namespace quant::cli {
namespace {

class Inspect : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option(
           "model", model_,
           "Model directory, .safetensors or .gguf file; server:PATH with "
           "--remote")
        ->required();
    app.add_flag("--dtypes", dtypes_,
                 "Read all values and say what each data type would lose");
    threads_.Add(app);
    app.add_flag("--remote", remote_, "Ask the server");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(
        const v1::ModelInfo info,
        remote_ || IsServerPath(model_) ? Remote() : Local());
    Print(info);
    return 0;
  }

 private:
  absl::StatusOr<v1::ModelInfo> Local() {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<ModelReader> model,
                           OpenModel(model_));
    ThreadPool pool(threads_.Get());
    return DescribeModel(*model, dtypes_, pool);
  }

  absl::StatusOr<v1::ModelInfo> Remote() {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    v1::InspectModelRequest request;
    request.set_dtypes(dtypes_);
    QUANT_ASSIGN_OR_RETURN(*request.mutable_source(),
                           ResolveSource(*client, model_));
    return client->Inspect(request);
  }

  void Print(const v1::ModelInfo& info) const {
    if (format_ == OutputFormat::kName) {
      for (const v1::TensorInfo& tensor : info.tensors()) {
        std::cout << Printable(tensor.name()) << "\n";
      }
      return;
    }
    if (format_ != OutputFormat::kTable) return PrintMessage(info, format_);
    if (dtypes_) {
      PrintDtypes(info);
    } else {
      PrintTensors(info);
    }
    std::vector<std::pair<std::string, std::string>> facts = {
        {"architecture", info.architecture()},
        {"model type", info.model_type()},
        {"tensors", absl::StrCat(info.tensors_size())},
        {"parameters", absl::StrCat(info.parameters())},
        {"tensor bytes", absl::StrCat(info.tensor_bytes(), " (",
                                      FormatBytes(info.tensor_bytes()), ")")},
        {"side files", absl::StrJoin(info.side_files(), ", ")}};
    if (!info.quant_method().empty()) {
      facts.emplace_back("quantized already", info.quant_method());
    }
    std::cout << "\n";
    PrintFacts(facts);
  }

  static void PrintTensors(const v1::ModelInfo& info) {
    Table table({"TENSOR", "SHAPE", "DTYPE", "ROLE", "BYTES", "FILE"});
    for (const v1::TensorInfo& tensor : info.tensors()) {
      table.Add({tensor.name(),
                 absl::StrCat("[", absl::StrJoin(tensor.shape(), ", "), "]"),
                 tensor.dtype(), tensor.role(),
                 absl::StrCat(tensor.size_bytes()), tensor.file()});
    }
    table.Print();
  }

  // Without a scale: what a plain conversion would do.
  static void PrintDtypes(const v1::ModelInfo& info) {
    Table table({"DTYPE", "BITS", "MAX", "MIN NORMAL", "MIN POSITIVE", "DIGITS",
                 "SPACING AT 1", "OVERFLOW", "TO ZERO", "OF"});
    for (const v1::DtypeFit& fit : info.dtypes()) {
      table.Add({fit.dtype(), absl::StrCat(fit.bits()),
                 absl::StrFormat("%.6g", fit.max()),
                 absl::StrFormat("%.4g", fit.min_normal()),
                 absl::StrFormat("%.4g", fit.min_positive()),
                 absl::StrFormat("%.1f", fit.decimal_digits()),
                 absl::StrFormat("%.4g", fit.spacing_at_one()),
                 absl::StrCat(fit.overflow_count()),
                 absl::StrCat(fit.underflow_count()),
                 absl::StrCat(fit.total_count())});
    }
    table.Print();
  }

  std::string model_;
  bool dtypes_ = false;
  bool remote_ = false;
  ThreadFlag threads_;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeInspect() { return std::make_unique<Inspect>(); }

}  // namespace quant::cli
