#include "core/base/digest.h"

#include <openssl/evp.h>
#include <xxhash.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define XXH_DISPATCH_DISABLE_REPLACE  // no other function of the library
#include <xxh_x86dispatch.h>
#endif

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

std::string HashHex(const XXH128_hash_t& hash) {
  return absl::StrFormat("%016x%016x", hash.high64, hash.low64);
}

#if defined(__x86_64__)
// libxxhash's code for AVX leaves values in the upper halves of registers, with
// which SSE code, such as OpenSSL's SHA-256, is slower until they are cleared.
__attribute__((target("avx"))) void ClearUpperHalves() { _mm256_zeroupper(); }

// Makes libxxhash choose its code, which it does at the first long input and
// without a guard. Whether there are upper halves to clear.
bool PrepareXxh3() {
  const uint8_t longer_than_240[256] = {};
  XXH3_64bits_dispatch(longer_than_240, sizeof(longer_than_240));
  return __builtin_cpu_supports("avx") != 0;
}
#endif

}  // namespace

struct Sha256::Impl {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~Impl() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  EVP_DigestInit_ex(impl_->context, EVP_sha256(), nullptr);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(absl::Span<const uint8_t> bytes) {
  EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size());
}

void Sha256::Update(absl::string_view bytes) {
  EVP_DigestUpdate(impl_->context, bytes.data(), bytes.size());
}

std::string Sha256::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(impl_->context, digest, &size);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<char*>(digest), size));
}

std::string Sha256Hex(absl::string_view bytes) {
  Sha256 sha;
  sha.Update(bytes);
  return sha.Finish();
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  QUANT_ASSIGN_OR_RETURN(File file, File::OpenRead(path));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  constexpr int64_t kChunkBytes = 1 << 20;
  std::vector<uint8_t> buffer(std::min(size, kChunkBytes));
  Sha256 sha;
  for (int64_t offset = 0; offset < size;) {
    const int64_t n = std::min<int64_t>(size - offset, kChunkBytes);
    const absl::Span<uint8_t> chunk(buffer.data(), n);
    QUANT_RETURN_IF_ERROR(file.ReadAt(offset, chunk));
    sha.Update(chunk);
    offset += n;
  }
  return sha.Finish();
}

bool IsSha256Hex(absl::string_view text) {
  if (text.size() != 64) return false;
  for (char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return true;
}

uint64_t Xxh3(absl::Span<const uint8_t> bytes) {
#if defined(__x86_64__)
  static const bool avx = PrepareXxh3();
  const uint64_t hash = XXH3_64bits_dispatch(bytes.data(), bytes.size());
  if (avx) ClearUpperHalves();
  return hash;
#else
  return XXH3_64bits(bytes.data(), bytes.size());
#endif
}

std::string Xxh3Hex(absl::string_view bytes) {
  return HashHex(XXH3_128bits(bytes.data(), bytes.size()));
}

struct Xxh3Stream::Impl {
  XXH3_state_t* state = XXH3_createState();
  ~Impl() { XXH3_freeState(state); }
};

Xxh3Stream::Xxh3Stream() : impl_(std::make_unique<Impl>()) {
  XXH3_128bits_reset(impl_->state);
}

Xxh3Stream::~Xxh3Stream() = default;
Xxh3Stream::Xxh3Stream(Xxh3Stream&&) noexcept = default;
Xxh3Stream& Xxh3Stream::operator=(Xxh3Stream&&) noexcept = default;

void Xxh3Stream::Update(absl::Span<const uint8_t> bytes) {
  XXH3_128bits_update(impl_->state, bytes.data(), bytes.size());
}

std::string Xxh3Stream::Hex() const {
  return HashHex(XXH3_128bits_digest(impl_->state));
}

}  // namespace quant
