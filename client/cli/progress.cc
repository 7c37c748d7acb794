#include "client/cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/output.h"
#include "core/base/bytes.h"

namespace quant::cli {
namespace {

constexpr int kBarColumns = 24;
constexpr std::chrono::milliseconds kBarInterval{100};
constexpr std::chrono::seconds kLineInterval{10};

int TerminalColumns() {
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return 80;
  }
  return size.ws_col;
}

}  // namespace

std::string FormatSeconds(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(std::max(seconds, 0.0)));
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600)
    return absl::StrFormat("%d min %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min", whole / 3600, whole / 60 % 60);
}

ProgressMeter::ProgressMeter(std::string what)
    : what_(std::move(what)), terminal_(isatty(STDERR_FILENO)) {}

std::string ProgressMeter::Estimate(double fraction) const {
  const double gained = fraction - first_fraction_;
  const double seconds =
      std::chrono::duration<double>(Clock::now() - stage_start_).count();
  if (gained < 0.01 || seconds < 0.5) return "";
  return absl::StrCat("  ETA ",
                      FormatSeconds(seconds * (1 - fraction) / gained));
}

void ProgressMeter::Show(const std::string& stage, double fraction,
                         const std::string& detail) {
  const Clock::time_point now = Clock::now();
  fraction = std::clamp(fraction, 0.0, 1.0);
  const bool new_stage = stage != stage_;
  if (new_stage) {
    stage_ = stage;
    first_fraction_ = fraction;
    stage_start_ = now;
    shown_tenth_ = -1;
  }
  if (terminal_) {
    if (!new_stage && fraction < 1 && now - shown_ < kBarInterval) return;
    shown_ = now;
    DrawBar(stage, fraction, detail);
    return;
  }
  const int tenth = static_cast<int>(fraction * 10);
  if (tenth == shown_tenth_ && now - shown_ < kLineInterval) return;
  shown_tenth_ = tenth;
  shown_ = now;
  std::fprintf(stderr, "%s: %s %d %%%s\n", what_.c_str(), stage.c_str(),
               static_cast<int>(fraction * 100), Estimate(fraction).c_str());
}

void ProgressMeter::Show(const TransferProgress& progress) {
  const double total = static_cast<double>(progress.bytes_total);
  const double fraction =
      total > 0 ? static_cast<double>(progress.bytes_done) / total : 1.0;
  Show("transferring", fraction,
       absl::StrCat(FormatBytes(progress.bytes_done), " of ",
                    FormatBytes(progress.bytes_total), "  ", progress.file));
}

void ProgressMeter::DrawBar(const std::string& stage, double fraction,
                            const std::string& detail) {
  const int full = static_cast<int>(fraction * kBarColumns);
  std::string line = absl::StrFormat(
      "%s: %s [%s%s] %3d %%%s  %s", what_, stage, std::string(full, '#'),
      std::string(kBarColumns - full, '.'), static_cast<int>(fraction * 100),
      Estimate(fraction), Printable(detail));
  const size_t columns = static_cast<size_t>(TerminalColumns() - 1);
  if (line.size() > columns) line.resize(columns);
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  bar_ = true;
}

void ProgressMeter::End() {
  if (bar_) std::fprintf(stderr, "\r\033[K");
  bar_ = false;
}

}  // namespace quant::cli
