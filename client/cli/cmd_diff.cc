#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/local_work.h"
#include "client/cli/output.h"
#include "core/base/bytes.h"
#include "core/base/status_macros.h"
#include "core/base/thread_pool.h"
#include "core/recipe/describe.h"

namespace quant::cli {
namespace {

std::string Bytes(int64_t bytes) {
  return absl::StrCat(bytes, " (", FormatBytes(bytes), ")");
}

class Diff : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("reference", reference_,
                   "Model that is taken as right: a directory or file")
        ->required();
    app.add_option("other", other_,
                   "Model or artifact whose weights are measured against it")
        ->required();
    threads_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    ThreadPool pool(threads_.Get());
    QUANT_ASSIGN_OR_RETURN(const v1::ModelDiff diff,
                           DescribeDiff(reference_, other_, pool));
    Print(diff);
    return 0;
  }

 private:
  // As names: the tensors with a difference.
  void Print(const v1::ModelDiff& diff) const {
    if (format_ == OutputFormat::kName) {
      for (const v1::TensorDiff& tensor : diff.tensors()) {
        if (tensor.different_count() == 0) continue;
        std::cout << Printable(tensor.name()) << "\n";
      }
      return;
    }
    if (format_ != OutputFormat::kTable) return PrintMessage(diff, format_);
    Table table({"TENSOR", "SHAPE", "TYPE", "OTHER TYPE", "SQNR DB",
                 "MAX ERROR", "BITS", "BYTES", "DIFFERENT"});
    int64_t different = 0;
    for (const v1::TensorDiff& tensor : diff.tensors()) {
      different += tensor.different_count() > 0;
      table.Add({tensor.name(),
                 absl::StrCat("[", absl::StrJoin(tensor.shape(), ", "), "]"),
                 tensor.reference_type(), tensor.other_type(), Sqnr(tensor),
                 absl::StrFormat("%.4g", tensor.max_abs_error()),
                 absl::StrFormat("%.3f", tensor.bits_per_weight()),
                 absl::StrCat(tensor.other_bytes()),
                 absl::StrCat(tensor.different_count())});
    }
    table.Print();
    std::cout << "\n";
    PrintFacts({{"tensors", absl::StrCat(diff.tensors_size(), " in both, ",
                                         different, " of them different")},
                {"only in reference", Names(diff.only_in_reference())},
                {"only in other", Names(diff.only_in_other())},
                {"sqnr", Sqnr(diff) + (diff.has_sqnr_db() ? " dB" : "")},
                {"bytes", absl::StrCat(Bytes(diff.reference_bytes()), " and ",
                                       Bytes(diff.other_bytes()))}});
  }

  template <typename Message>
  static std::string Sqnr(const Message& message) {
    return message.has_sqnr_db() ? absl::StrFormat("%.2f", message.sqnr_db())
                                 : "-";
  }

  template <typename List>
  static std::string Names(const List& names) {
    return names.empty() ? "none" : absl::StrJoin(names, ", ");
  }

  std::string reference_;
  std::string other_;
  ThreadFlag threads_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeDiff() { return std::make_unique<Diff>(); }

}  // namespace quant::cli
