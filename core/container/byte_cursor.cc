#include "core/container/byte_cursor.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/base/error.h"

namespace quant {
namespace {

constexpr int64_t kBufferBytes = 64 << 10;

}  // namespace

absl::Status ByteCursor::CheckLeft(int64_t count, int64_t element_bytes) const {
  if (count >= 0 && count <= remaining() / element_bytes) {
    return absl::OkStatus();
  }
  return ModelMalformed(
      absl::StrCat("byte ", position_, ": ", count,
                   element_bytes == 1
                       ? std::string(" bytes")
                       : absl::StrCat(" elements of ", element_bytes, " bytes"),
                   " should follow; ", remaining(), " bytes are left"));
}

absl::Status ByteCursor::Refill() {
  buffer_.resize(std::min(kBufferBytes, remaining()));
  next_ = 0;
  return file_.ReadAt(position_, absl::MakeSpan(buffer_));
}

absl::Status ByteCursor::Read(absl::Span<uint8_t> out) {
  QUANT_RETURN_IF_ERROR(CheckLeft(static_cast<int64_t>(out.size()), 1));
  absl::Span<uint8_t> rest = out;
  while (!rest.empty()) {
    size_t count = std::min(rest.size(), buffer_.size() - next_);
    if (count == 0 && rest.size() >= kBufferBytes) {
      count = rest.size();
      QUANT_RETURN_IF_ERROR(file_.ReadAt(position_, rest));
    } else if (count == 0) {
      QUANT_RETURN_IF_ERROR(Refill());
      continue;
    } else {
      std::copy_n(buffer_.begin() + next_, count, rest.begin());
      next_ += count;
    }
    position_ += static_cast<int64_t>(count);
    rest.remove_prefix(count);
  }
  digest_.Update(out);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ByteCursor::String(int64_t count) {
  QUANT_RETURN_IF_ERROR(CheckLeft(count, 1));
  std::string text(count, '\0');
  QUANT_RETURN_IF_ERROR(Read(
      absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size())));
  return text;
}

}  // namespace quant
