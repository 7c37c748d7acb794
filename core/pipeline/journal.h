// What an attempt has done, line by line, so that the next one can go on.
//
//   quant-journal 1 <fingerprint>
//   begin <tensor>
//   done <tensor> <digest> <outputs> {<noise> <signal> <max error> <overflow>
//        <underflow> <zeroed>} per output
//
// Tensors are positions in Plan::order; doubles are written as their bits in
// hex. Every line ends with "#" and the XXH3 of what stands before it. A torn
// or damaged line ends the journal: what follows is dropped.
//
// Lines are not fsynced: after a power cut, bytes are verified against the
// line's digest before they are trusted.
#ifndef QUANT_CORE_PIPELINE_JOURNAL_H_
#define QUANT_CORE_PIPELINE_JOURNAL_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/file.h"
#include "core/method/method.h"

namespace quant {

// What is known of one finished tensor, per output.
struct OutputRecord {
  ErrorSums sums;
  int64_t zeroed = 0;  // values that were not finite
};

struct DoneTensor {
  uint64_t digest = 0;  // over the tile digests, in order
  std::vector<OutputRecord> outputs;
};

// A journal as it lies there, whosever work it is.
struct JournalReport {
  int64_t bytes = 0;
  int64_t sound_bytes = 0;  // fewer: a torn or damaged line ends it
  int64_t tensors_done = 0;
};

class Journal {
 public:
  // Reads without changing anything, also beside a running attempt. All of an
  // empty file is sound.
  static absl::StatusOr<JournalReport> Inspect(const std::string& path);

  // Opens `path` and reads what it holds of `fingerprint`; starts an empty one
  // when there is none, when it is damaged from the first line on, or when it
  // belongs to other work (`*fresh` is then set).
  static absl::StatusOr<Journal> Open(const std::string& path,
                                      const std::string& fingerprint,
                                      bool* fresh);

  // Whether it was of other work when it was opened, whose lines were dropped.
  bool displaced() const { return displaced_; }

  const std::map<int, DoneTensor>& done() const { return done_; }
  // Forgets a tensor whose bytes turned out to be wrong.
  void Forget(int tensor) { done_.erase(tensor); }

  // Makes sure that the work directory counts as this work's: before anything
  // else than tensors is put there.
  absl::Status Claim();
  absl::Status Begin(int tensor);
  absl::Status Done(int tensor, const DoneTensor& record);

  // Tensors that were begun more often than needed, over all attempts.
  int64_t redone() const;

 private:
  explicit Journal(File file) : file_(std::move(file)) {}
  // Returns the length of the sound part.
  int64_t Parse(const std::string& text);
  bool ParseLine(const std::string& line);
  absl::Status Append(const std::string& line);

  bool displaced_ = false;
  File file_;
  // Written with the first line: until then an empty journal says that whatever
  // lies in the work directory is not to be used.
  std::string header_;
  std::map<int, DoneTensor> done_;
  std::map<int, int64_t> begun_;
};

}  // namespace quant

#endif  // QUANT_CORE_PIPELINE_JOURNAL_H_
