// What uploads and downloads have in common.
#ifndef QUANT_CLIENT_LIBRARY_TRANSFER_H_
#define QUANT_CLIENT_LIBRARY_TRANSFER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

namespace quant {

// Where a transfer stands. Counts are of the whole transfer and never fall,
// except when a file turns out to be broken and is sent again.
struct TransferProgress {
  std::string file;  // the one being worked on
  int64_t files_done = 0;
  int64_t files_total = 0;
  int64_t bytes_done = 0;  // skipped and resumed bytes included
  int64_t bytes_total = 0;
};

struct TransferOptions {
  // Called about once per 16 MiB and at the end of every file, from one thread
  // at a time.
  std::function<void(const TransferProgress&)> progress;
  // Stops the transfer with CANCELLED; the same call takes it up again.
  std::stop_token stop;
  // A stream that moves nothing for so long is cut and taken up again.
  std::chrono::milliseconds silence{60'000};
  // Downloads: what is not of the artifact makes room for it.
  bool overwrite = false;
};

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_TRANSFER_H_
