#include "server/api/grpc_status.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "core/recipe/rpc_status.h"

namespace quant {
namespace {

// The message travels three times: as grpc-message, in google.rpc.Status and
// in BadRequest, the latter two in base64. 3 * 1500 bytes stay below 8 KiB.
constexpr size_t kMaxMessageBytes = 1500;

// Length of the UTF-8 sequence at the front of `text`; 0 when it is broken.
size_t SequenceLength(absl::string_view text) {
  const auto lead = static_cast<unsigned char>(text.front());
  const size_t length = lead < 0x80                   ? 1
                        : lead >= 0xC2 && lead < 0xE0 ? 2
                        : lead >= 0xE0 && lead < 0xF0 ? 3
                        : lead >= 0xF0 && lead < 0xF5 ? 4
                                                      : 0;
  if (length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return length;
}

std::string CleanMessage(absl::string_view text) {
  std::string out;
  const size_t total = text.size();
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const size_t step = length == 0 ? 1 : length;
    if (out.size() + step > kMaxMessageBytes) {
      absl::StrAppend(&out, " ... (", total, " bytes in all)");
      break;
    }
    if (length == 0) {
      out.push_back('?');
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(step);
  }
  return out;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  absl::Status clean(status.code(), CleanMessage(status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    clean.SetPayload(url, value);
  });
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(clean.message()),
                      ToRpcStatus(clean).SerializeAsString());
}

}  // namespace quant
