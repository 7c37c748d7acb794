#include "core/network/kept_states.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/digest.h"
#include "core/base/file.h"
#include "core/base/status_macros.h"

namespace quant {
namespace {

constexpr char kMagic[8] = {'Q', 'S', 'T', 'A', 'T', 'E', 'S', '1'};
constexpr int64_t kPieceBytes = int64_t{1} << 20;

// Before the states, one behind the other, and the notes.
struct Header {
  char magic[8];
  int64_t blocks;
  int64_t notes_bytes;
  char digest[32];  // XXH3 of the identity, the two numbers, and all behind
};

absl::Span<uint8_t> BytesOf(std::vector<float>& values) {
  return {reinterpret_cast<uint8_t*>(values.data()),
          values.size() * sizeof(float)};
}

absl::Span<const uint8_t> BytesOf(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Xxh3Stream DigestOf(const std::string& identity, const Header& header) {
  Xxh3Stream digest;
  digest.Update(BytesOf(absl::StrCat(identity, " ", header.blocks, " ",
                                     header.notes_bytes, "\n")));
  return digest;
}

// Calls `take` with the rows of some states, piece by piece, and where they lie
// in the file.
template <typename States, typename Take>
absl::Status ForPieces(States& states, int64_t& offset, Take take) {
  const int64_t row_bytes = states.cols() * static_cast<int64_t>(sizeof(float));
  const int64_t step = std::max<int64_t>(1, kPieceBytes / row_bytes);
  std::vector<float> piece;
  for (int64_t row = 0; row < states.rows(); row += step) {
    const int64_t rows = std::min(step, states.rows() - row);
    piece.resize(rows * states.cols());
    QUANT_RETURN_IF_ERROR(take(row, rows, piece, offset));
    offset += rows * row_bytes;
  }
  return absl::OkStatus();
}

absl::Status WriteStates(const File& file,
                         absl::Span<HiddenStates* const> states,
                         int64_t& offset, Xxh3Stream& digest) {
  for (const HiddenStates* some : states) {
    QUANT_RETURN_IF_ERROR(ForPieces(
        *some, offset,
        [&](int64_t row, int64_t rows, std::vector<float>& piece, int64_t at) {
          QUANT_RETURN_IF_ERROR(some->Load(row, rows, piece.data()));
          digest.Update(BytesOf(piece));
          return file.WriteAt(at, BytesOf(piece));
        }));
  }
  return absl::OkStatus();
}

absl::Status ReadStates(const File& file,
                        absl::Span<HiddenStates* const> states,
                        int64_t& offset) {
  for (HiddenStates* some : states) {
    QUANT_RETURN_IF_ERROR(ForPieces(
        *some, offset,
        [&](int64_t row, int64_t rows, std::vector<float>& piece, int64_t at) {
          QUANT_RETURN_IF_ERROR(file.ReadAt(at, BytesOf(piece)));
          return some->Store(row, rows, piece.data());
        }));
  }
  return absl::OkStatus();
}

// Whether the file is whole, and of this pass.
absl::StatusOr<bool> IsSound(const File& file, const Header& header,
                             int64_t size, const std::string& identity) {
  Xxh3Stream digest = DigestOf(identity, header);
  std::vector<uint8_t> piece;
  for (int64_t at = sizeof(Header); at < size; at += kPieceBytes) {
    piece.resize(std::min(kPieceBytes, size - at));
    QUANT_RETURN_IF_ERROR(file.ReadAt(at, absl::MakeSpan(piece)));
    digest.Update(piece);
  }
  return digest.Hex() == absl::string_view(header.digest, sizeof header.digest);
}

}  // namespace

absl::StatusOr<int64_t> KeptStates::Load(int64_t most,
                                         absl::Span<HiddenStates* const> states,
                                         std::string& notes) const {
  if (options_.path.empty() || !PathExists(options_.path)) return 0;
  QUANT_ASSIGN_OR_RETURN(const File file, File::OpenRead(options_.path));
  QUANT_ASSIGN_OR_RETURN(const int64_t size, file.Size());
  int64_t state_bytes = 0;
  for (const HiddenStates* some : states) state_bytes += some->bytes();
  const int64_t notes_bytes =
      size - static_cast<int64_t>(sizeof(Header)) - state_bytes;
  if (notes_bytes < 0) return 0;
  Header header;
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(&header), sizeof header)));
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 ||
      header.notes_bytes != notes_bytes || header.blocks < 1 ||
      header.blocks > most) {
    return 0;
  }
  QUANT_ASSIGN_OR_RETURN(const bool sound,
                         IsSound(file, header, size, options_.identity));
  if (!sound) return 0;
  int64_t offset = sizeof(Header);
  QUANT_RETURN_IF_ERROR(ReadStates(file, states, offset));
  notes.resize(notes_bytes);
  QUANT_RETURN_IF_ERROR(file.ReadAt(
      offset,
      absl::MakeSpan(reinterpret_cast<uint8_t*>(notes.data()), notes.size())));
  return header.blocks;
}

absl::Status KeptStates::Store(int64_t blocks,
                               absl::Span<HiddenStates* const> states,
                               absl::string_view notes) {
  if (options_.path.empty() || Clock::now() - last_ < options_.every) {
    return absl::OkStatus();
  }
  const std::string part = options_.path + ".part";
  QUANT_RETURN_IF_ERROR(MakeDirectories(ParentPath(part)));
  QUANT_ASSIGN_OR_RETURN(const File file, File::CreateNew(part));
  Header header{.blocks = blocks,
                .notes_bytes = static_cast<int64_t>(notes.size())};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  Xxh3Stream digest = DigestOf(options_.identity, header);
  int64_t offset = sizeof(Header);
  QUANT_RETURN_IF_ERROR(WriteStates(file, states, offset, digest));
  digest.Update(BytesOf(notes));
  QUANT_RETURN_IF_ERROR(file.WriteAt(offset, BytesOf(notes)));
  std::memcpy(header.digest, digest.Hex().data(), sizeof header.digest);
  QUANT_RETURN_IF_ERROR(file.WriteAt(
      0, {reinterpret_cast<const uint8_t*>(&header), sizeof header}));
  if (options_.sync) QUANT_RETURN_IF_ERROR(file.Sync());
  QUANT_RETURN_IF_ERROR(Rename(part, options_.path));
  if (options_.kept) options_.kept(blocks);
  last_ = Clock::now();
  return absl::OkStatus();
}

absl::Status KeptStates::Remove() const {
  return options_.path.empty() ? absl::OkStatus() : RemoveTree(options_.path);
}

int64_t BytesOfKept(int64_t state_bytes) { return 2 * state_bytes; }

}  // namespace quant
