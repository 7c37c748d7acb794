#include "server/store/verified_files.h"

#include "absl/strings/match.h"

namespace quant {
void VerifiedFiles::Remove(const std::string& prefix) {
  std::lock_guard lock(mutex_);
  auto it = files_.lower_bound(prefix);
  while (it != files_.end() && absl::StartsWith(it->first, prefix)) {
    it = files_.erase(it);
  }
}

}  // namespace quant
