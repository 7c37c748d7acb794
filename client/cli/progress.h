// Progress on stderr: a bar with an estimate where stderr is a terminal, else a
// line every 10 s or 10 %.
#ifndef QUANT_CLIENT_CLI_PROGRESS_H_
#define QUANT_CLIENT_CLI_PROGRESS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "client/library/transfer.h"

namespace quant::cli {

class ProgressMeter {
 public:
  // `what` begins each line: "quantize", "upload", "jobs/x".
  explicit ProgressMeter(std::string what);
  ~ProgressMeter() { End(); }
  ProgressMeter(const ProgressMeter&) = delete;
  ProgressMeter& operator=(const ProgressMeter&) = delete;

  // `fraction` in 0..1 of the `stage`; `detail` says more, on terminals only.
  void Show(const std::string& stage, double fraction,
            const std::string& detail);
  void Show(const TransferProgress& progress);
  // Removes the bar, so that other text may follow.
  void End();

 private:
  using Clock = std::chrono::steady_clock;
  void DrawBar(const std::string& stage, double fraction,
               const std::string& detail);
  std::string Estimate(double fraction) const;

  const std::string what_;
  const bool terminal_;
  std::string stage_;
  double first_fraction_ = 0;  // of this stage, which may resume older work
  Clock::time_point stage_start_;
  Clock::time_point shown_;
  int shown_tenth_ = -1;
  bool bar_ = false;
};

// "3 min 20 s".
std::string FormatSeconds(double seconds);

}  // namespace quant::cli

#endif  // QUANT_CLIENT_CLI_PROGRESS_H_
