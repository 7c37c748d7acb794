#include "core/pipeline/journal.h"

#include <bit>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/base/digest.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

// A journal has one line of a few hundred bytes per tensor.
constexpr int64_t kMaxJournalBytes = int64_t{4} << 30;
// Before the fingerprint.
constexpr char kMagic[] = "quant-journal 1 ";

std::string Checksum(absl::string_view line) {
  return absl::StrCat(absl::Hex(Xxh3(absl::MakeConstSpan(
      reinterpret_cast<const uint8_t*>(line.data()), line.size()))));
}

std::string Sealed(const std::string& line) {
  return absl::StrCat(line, " #", Checksum(line), "\n");
}

// The line without its checksum, or nothing when it is damaged.
std::optional<std::string> Unsealed(absl::string_view line) {
  const size_t mark = line.rfind(" #");
  if (mark == absl::string_view::npos) return std::nullopt;
  const absl::string_view body = line.substr(0, mark);
  if (line.substr(mark + 2) != Checksum(body)) return std::nullopt;
  return std::string(body);
}

std::string Bits(double value) {
  return absl::StrCat(absl::Hex(std::bit_cast<uint64_t>(value)));
}

// Reads the fields of one line in order.
class Fields {
 public:
  explicit Fields(const std::string& line)
      : parts_(absl::StrSplit(line, ' ')) {}
  std::string Word() { return next_ < parts_.size() ? parts_[next_++] : ""; }
  uint64_t Hex() {
    uint64_t value = 0;
    ok_ &= absl::SimpleHexAtoi(Word(), &value);
    return value;
  }
  double Double() { return std::bit_cast<double>(Hex()); }
  int64_t Int() {
    int64_t value = 0;
    ok_ &= absl::SimpleAtoi(Word(), &value);
    return value;
  }
  bool ok() const { return ok_ && next_ == parts_.size(); }

 private:
  std::vector<std::string> parts_;
  size_t next_ = 0;
  bool ok_ = true;
};

// What follows a sound header, whatever its work, begins here.
std::optional<size_t> HeaderEnd(const std::string& text) {
  const size_t end = text.find('\n');
  if (end == std::string::npos) return std::nullopt;
  const auto header = Unsealed(absl::string_view(text).substr(0, end));
  if (!header || !absl::StartsWith(*header, kMagic)) return std::nullopt;
  return end + 1;
}

}  // namespace

absl::StatusOr<Journal> Journal::Open(const std::string& path,
                                      const std::string& fingerprint,
                                      bool* fresh) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenAppend(path));
  Journal journal(std::move(file));
  std::string header = Sealed(absl::StrCat(kMagic, fingerprint));
  QUANT_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(path, kMaxJournalBytes));
  *fresh = text.compare(0, header.size(), header) != 0;
  if (*fresh) {
    journal.displaced_ = HeaderEnd(text).has_value();
    QUANT_RETURN_IF_ERROR(journal.file_.Truncate(0));
    journal.header_ = std::move(header);
    return journal;
  }
  const int64_t sound = static_cast<int64_t>(header.size()) +
                        journal.Parse(text.substr(header.size()));
  if (sound < static_cast<int64_t>(text.size())) {
    QUANT_RETURN_IF_ERROR(journal.file_.Truncate(sound));
  }
  return journal;
}

absl::StatusOr<JournalReport> Journal::Inspect(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenRead(path));
  Journal journal(std::move(file));
  QUANT_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(path, kMaxJournalBytes));
  JournalReport report{.bytes = static_cast<int64_t>(text.size())};
  const std::optional<size_t> begin = HeaderEnd(text);
  if (!begin) return report;
  report.sound_bytes =
      static_cast<int64_t>(*begin) + journal.Parse(text.substr(*begin));
  report.tensors_done = static_cast<int64_t>(journal.done_.size());
  return report;
}

int64_t Journal::Parse(const std::string& text) {
  size_t begin = 0;
  while (true) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const auto line =
        Unsealed(absl::string_view(text).substr(begin, end - begin));
    if (!line || !ParseLine(*line)) break;
    begin = end + 1;
  }
  return static_cast<int64_t>(begin);
}

bool Journal::ParseLine(const std::string& line) {
  Fields fields(line);
  const std::string kind = fields.Word();
  const int tensor = static_cast<int>(fields.Int());
  if (kind == "begin") {
    ++begun_[tensor];
    done_.erase(tensor);
    return fields.ok();
  }
  if (kind != "done") return false;
  DoneTensor record;
  record.digest = fields.Hex();
  const int64_t outputs = fields.Int();
  if (outputs < 0 || outputs > 1000) return false;
  for (int64_t i = 0; i < outputs; ++i) {
    OutputRecord& output = record.outputs.emplace_back();
    output.sums.noise = fields.Double();
    output.sums.signal = fields.Double();
    output.sums.max_abs_error = static_cast<float>(fields.Double());
    output.sums.overflow = fields.Int();
    output.sums.underflow = fields.Int();
    output.zeroed = fields.Int();
  }
  if (!fields.ok()) return false;
  done_[tensor] = std::move(record);
  return true;
}

absl::Status Journal::Append(const std::string& line) {
  QUANT_RETURN_IF_ERROR(file_.Append(absl::StrCat(header_, Sealed(line))));
  header_.clear();
  return absl::OkStatus();
}

absl::Status Journal::Claim() {
  if (header_.empty()) return absl::OkStatus();
  QUANT_RETURN_IF_ERROR(file_.Append(header_));
  header_.clear();
  return absl::OkStatus();
}

absl::Status Journal::Begin(int tensor) {
  ++begun_[tensor];
  return Append(absl::StrCat("begin ", tensor));
}

absl::Status Journal::Done(int tensor, const DoneTensor& record) {
  std::string line =
      absl::StrCat("done ", tensor, " ", absl::Hex(record.digest), " ",
                   record.outputs.size());
  for (const OutputRecord& output : record.outputs) {
    absl::StrAppend(&line, " ", Bits(output.sums.noise), " ",
                    Bits(output.sums.signal), " ",
                    Bits(output.sums.max_abs_error), " ", output.sums.overflow,
                    " ", output.sums.underflow, " ", output.zeroed);
  }
  QUANT_RETURN_IF_ERROR(Append(line));
  done_[tensor] = record;
  return absl::OkStatus();
}

int64_t Journal::redone() const {
  int64_t redone = 0;
  for (const auto& [tensor, times] : begun_) redone += times - 1;
  return redone;
}

}  // namespace quant
