// SHA-256 for what is published, XXH3 for what only we compare.
#ifndef QUANT_CORE_BASE_DIGEST_H_
#define QUANT_CORE_BASE_DIGEST_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace quant {

// Incremental SHA-256 (FIPS 180-4), by OpenSSL. Move-only.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(absl::Span<const uint8_t> bytes);
  void Update(absl::string_view bytes);
  // 64 lower-case hex digits. Ends the computation.
  std::string Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

std::string Sha256Hex(absl::string_view bytes);
// Reads the file once.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);
// Whether `text` is 64 lower-case hex digits.
bool IsSha256Hex(absl::string_view text);

uint64_t Xxh3(absl::Span<const uint8_t> bytes);
// 128 bits as 32 lower-case hex digits.
std::string Xxh3Hex(absl::string_view bytes);

// Xxh3Hex of bytes that come piece by piece. Move-only.
class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  Xxh3Stream(Xxh3Stream&&) noexcept;
  Xxh3Stream& operator=(Xxh3Stream&&) noexcept;

  void Update(absl::Span<const uint8_t> bytes);
  // Of all bytes so far; more may follow.
  std::string Hex() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quant

#endif  // QUANT_CORE_BASE_DIGEST_H_
