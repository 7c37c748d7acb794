// statistics.json of a calibration, beside the file of one block.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/calibrate/statistics_files.h"
#include "core/calibrate/stored_statistics.h"
#include "tests/fuzz/targets.h"

namespace quant::fuzz {
namespace {

// Removed when the process ends.
class Directory {
 public:
  Directory() {
    path_ = std::filesystem::temp_directory_path() / "fuzz-XXXXXX";
    QUANT_FUZZ_CHECK(::mkdtemp(path_.data()) != nullptr);  // fills the X in
    QUANT_FUZZ_CHECK(Write(BlockFileName(0), std::string(10, 'b')));
  }
  ~Directory() { (void)RemoveTree(path_); }

  bool Write(const std::string& name, absl::string_view bytes) const {
    return WriteFileAtomically(JoinPath(path_, name), bytes, /*sync=*/false)
        .ok();
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

void Statistics(absl::string_view bytes) {
  static const Directory directory;
  QUANT_FUZZ_CHECK(directory.Write(kStatisticsName, bytes));
  const auto stored = StoredStatistics::Open(directory.path());
  if (!stored.ok()) {
    QUANT_FUZZ_CHECK(stored.status().message().size() < 4096);
    return;
  }
  // Its blocks are those that are there.
  QUANT_FUZZ_CHECK(stored->blocks() == 1);
  QUANT_FUZZ_CHECK(IsSha256Hex(stored->text().data.digest));
  QUANT_FUZZ_CHECK(stored->text().data.sequences > 0);
  QUANT_FUZZ_CHECK(!stored->OpenBlock(0).ok());  // ten bytes are no file
}

}  // namespace quant::fuzz

QUANT_FUZZ_TARGET(quant::fuzz::Statistics)
