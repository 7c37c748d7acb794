#include "server/api/grpc_status.h"

#include <algorithm>
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

// The beginning of `text` that fits, as valid UTF-8.
std::string CleanBeginning(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const size_t step = length == 0 ? 1 : length;
    if (out.size() + step > kMaxMessageBytes) break;
    if (length == 0) {
      out.push_back('?');
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(step);
  }
  return out;
}

// A list ends with a whole line, and a line with a whole character.
std::string CleanMessage(absl::string_view text) {
  std::string out = CleanBeginning(text);
  if (out.size() == text.size()) return out;
  const size_t line = out.rfind('\n');
  if (line == std::string::npos) {
    absl::StrAppend(&out, " ... (", text.size(), " bytes in all)");
    return out;
  }
  out.resize(line);
  const auto more = std::count(text.begin() + line, text.end(), '\n');
  absl::StrAppend(&out, "\nand ", more, more == 1 ? " line" : " lines",
                  " more");
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
