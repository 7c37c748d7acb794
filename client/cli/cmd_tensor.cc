#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/array.h"
#include "client/cli/command.h"
#include "client/cli/output.h"
#include "client/cli/recipe_flags.h"
#include "client/cli/server_flags.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/recipe/describe.h"

namespace quant::cli {
namespace {

class Tensor : public Command {
 public:
  void AddFlags(CLI::App& app) override {
    app.add_option("array", array_argument_,
                   "\"1, -2; 3, 4\" (';' between rows), FILE.npy or "
                   "MODEL:TENSOR")
        ->required();
    recipe_.Add(app);
    app.add_option("--limit", limit_, "Values to print; 0 = all")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--importance", importance_,
                   "How much each column matters to GGUF types: a .npy file "
                   "with one weight per column");
    app.add_option("--dequantized", dequantized_,
                   "Write the quantized values as floats to this .npy file");
    app.add_flag("--remote", remote_, "Ask the server");
    server_.Add(app);
    AddFormatFlag(app, format_);
  }

  absl::StatusOr<int> Run() override {
    QUANT_ASSIGN_OR_RETURN(const v1::JobSpec spec, recipe_.Build());
    if (spec.outputs_size() != 1) {
      return InvalidSpec("--scheme: one, please");
    }
    QUANT_ASSIGN_OR_RETURN(const Array array, ReadArray(array_argument_));
    if (!array.note.empty()) {
      std::cerr << "quantctl: " << Printable(array.note) << "\n";
    }
    v1::QuantizeTensorRequest request;
    request.mutable_values()->Add(array.values.begin(), array.values.end());
    request.mutable_shape()->Add(array.shape.begin(), array.shape.end());
    *request.mutable_recipe() = spec.outputs(0).recipe();
    if (!importance_.empty()) {
      QUANT_ASSIGN_OR_RETURN(const Array weights, ReadArray(importance_));
      request.mutable_importance()->Add(weights.values.begin(),
                                        weights.values.end());
    }
    QUANT_ASSIGN_OR_RETURN(const v1::QuantizeTensorResponse response,
                           remote_ ? Remote(request) : QuantizeTensor(request));
    if (!dequantized_.empty()) {
      QUANT_RETURN_IF_ERROR(WriteFileAtomically(
          dequantized_,
          ToNpy({response.dequantized().begin(), response.dequantized().end()},
                array.shape),
          /*sync=*/false));
    }
    Print(array, response);
    return 0;
  }

 private:
  absl::StatusOr<v1::QuantizeTensorResponse> Remote(
      const v1::QuantizeTensorRequest& request) {
    QUANT_ASSIGN_OR_RETURN(const std::unique_ptr<Client> client,
                           server_.Connect());
    return client->Tensor(request);
  }

  void Print(const Array& array,
             const v1::QuantizeTensorResponse& response) const {
    if (format_ == OutputFormat::kJson || format_ == OutputFormat::kYaml) {
      return PrintMessage(response, format_);
    }
    PrintValues(array, response);
    PrintScales(response);
    PrintFacts(
        {{"mse", absl::StrFormat("%.6g", response.mse())},
         {"max abs error", absl::StrFormat("%.6g", response.max_abs_error())},
         {"sqnr", response.has_sqnr_db()
                      ? absl::StrFormat("%.2f dB", response.sqnr_db())
                      : "no error"},
         {"bits per value",
          absl::StrFormat("%.4g", response.bits_per_value())}});
  }

  // How many of `count` lines to print.
  int Shown(int count) const {
    return limit_ == 0 ? count : std::min(count, limit_);
  }

  static void SayMore(int shown, int count) {
    if (shown < count) {
      std::cout << "... " << count - shown << " more (--limit 0 prints all)\n";
    }
    std::cout << "\n";
  }

  void PrintValues(const Array& array,
                   const v1::QuantizeTensorResponse& response) const {
    const int count = std::min(
        {static_cast<int>(array.values.size()), response.dequantized_size()});
    const int shown = Shown(count);
    Table table({"ROW", "COL", "X", "X_INT", "X_HAT", "ERROR"});
    for (int i = 0; i < shown; ++i) {
      const float x = array.values[static_cast<size_t>(i)];
      table.Add(
          {absl::StrCat(i / array.shape[1]), absl::StrCat(i % array.shape[1]),
           absl::StrFormat("%.7g", x),
           i < response.codes_size() ? absl::StrCat(response.codes(i)) : "-",
           absl::StrFormat("%.7g", response.dequantized(i)),
           absl::StrFormat("%.3g", response.dequantized(i) - x)});
    }
    table.Print();
    SayMore(shown, count);
  }

  void PrintScales(const v1::QuantizeTensorResponse& response) const {
    if (response.scales_size() == 0) return;
    const int64_t per_row = response.scale_shape_size() == 2
                                ? std::max<int64_t>(response.scale_shape(1), 1)
                                : 1;
    const int shown = Shown(response.scales_size());
    Table table({"SCALE ROW", "GROUP", "SCALE", "ZERO POINT"});
    for (int i = 0; i < shown; ++i) {
      table.Add({absl::StrCat(i / per_row), absl::StrCat(i % per_row),
                 absl::StrFormat("%.9g", response.scales(i)),
                 i < response.zero_points_size()
                     ? absl::StrCat(response.zero_points(i))
                     : "-"});
    }
    table.Print();
    SayMore(shown, response.scales_size());
  }

  std::string array_argument_;
  RecipeFlags recipe_;
  int limit_ = 32;
  std::string importance_;
  std::string dequantized_;
  bool remote_ = false;
  ServerFlags server_;
  OutputFormat format_ = OutputFormat::kTable;
};

}  // namespace

std::unique_ptr<Command> MakeTensor() { return std::make_unique<Tensor>(); }

}  // namespace quant::cli
