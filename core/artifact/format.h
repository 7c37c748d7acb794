// How an artifact lies on disk, that is, which loaders accept it. Adding a
// format: one file that implements ArtifactFormat, one line in formats.def.
//
// Legend: O out features, I in features, R rows of a tile.
#ifndef QUANT_CORE_ARTIFACT_FORMAT_H_
#define QUANT_CORE_ARTIFACT_FORMAT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/architecture/roles.h"
#include "core/codec/codec.h"
#include "core/container/gguf_value.h"
#include "core/container/model_reader.h"
#include "core/tensor/ggml_type.h"

namespace quant {

// A tensor of the artifact. `file` and `offset` are set when it is placed.
struct OutputTensor {
  std::string name;
  DType dtype = DType::kF32;
  // GGUF block type; dtype is then U8.
  std::optional<GgmlType> block_type = std::nullopt;
  Shape shape;
  int64_t bytes = 0;
  int file = -1;       // index into ArtifactLayout::files
  int64_t offset = 0;  // first byte, absolute in the file
};

// Bytes of one tile that go to one output tensor. A tile may have several for
// one output, in any order.
struct ByteRange {
  int output = 0;      // index into the outputs of the source tensor
  int64_t offset = 0;  // relative to that output tensor
  int64_t bytes = 0;
};

// Packed bytes of one tile: data[i] belongs to ranges[i]. Points into the code
// tile or into scratch; valid until the next call.
struct PackedTile {
  std::vector<ByteRange> ranges;
  std::vector<absl::Span<const uint8_t>> data;
  std::vector<std::vector<uint8_t>> scratch;
};

// A weight matrix and what becomes of it.
struct QuantizedModule {
  TensorRole role;
  const TensorEntry* source = nullptr;
  bool quantized = false;
  Scheme scheme;  // when quantized
};

// Bytes [begin, end) of a weight file, for one tensor.
struct PlacedTensor {
  std::string name;
  int64_t begin = 0;
  int64_t end = 0;
};

// A weight file of the artifact: a header, tensors, and zeros between them.
struct LayoutFile {
  std::string path;
  std::string header;                 // the first bytes
  std::vector<PlacedTensor> tensors;  // by ascending offset
  int64_t file_size = 0;
};

// What is to be placed in files.
struct LayoutRequest {
  const ModelReader* model = nullptr;  // under the format's names
  const Scheme* scheme = nullptr;      // of the whole output
  // The outputs of each source tensor, in the order of the model's tensors:
  // they stay in one file. Placing sets `file` and `offset`.
  std::vector<absl::Span<OutputTensor>> groups;
  std::vector<GgufKv> keys;     // more keys, for formats that have any
  int64_t max_shard_bytes = 0;  // headers excluded
};

// Whose names, shapes and row orders an artifact's tensors have.
enum class TensorNames {
  kSource,  // as they are; those of a checkpoint, for GGUF sources
  kGguf,    // those of GGUF files: other names, experts stacked, rows permuted
};

// What a format wants to be done with one tensor.
struct TensorPolicy {
  std::optional<Scheme> scheme;  // nothing: copied as it is
  std::string reason;            // never empty
};

// What a recipe's rule says about one tensor.
struct RuleChoice {
  bool matched = false;
  std::optional<Scheme> scheme;  // nothing: copied as it is
};

struct PolicyRequest {
  const ModelReader* model = nullptr;  // under the format's names
  const Scheme* scheme = nullptr;
  std::vector<RuleChoice> rules;  // per tensor
  bool has_importance = false;    // weights of inputs are known
};

// A text file whose bytes are known at plan time.
struct TextFile {
  std::string path;
  std::string text;
};

struct ArtifactLayout {
  std::vector<LayoutFile> files;
  std::vector<TextFile> texts;       // config.json, index
  std::vector<SideFile> side_files;  // copied as they are
  int64_t manifest_bytes = 0;        // padded size of manifest.json
};

class ArtifactFormat {
 public:
  virtual ~ArtifactFormat() = default;

  // INVALID_ARGUMENT UNSUPPORTED, naming the nearest that works, when no loader
  // of this format reads the scheme.
  virtual absl::Status CheckScheme(const Scheme& scheme) const = 0;

  // Why loaders can't take `scheme` for a weight of this shape ("172 % 128 !=
  // 0"), or empty. `last_of_fused`: not followed by another part of a merged
  // module.
  virtual std::string ShapeMisfit(const Scheme& scheme, const Shape& shape,
                                  bool last_of_fused) const = 0;

  // Whose names and shapes the tensors have; what the other methods get to see.
  virtual TensorNames Names() const { return TensorNames::kSource; }

  // For formats that give each tensor a type of its own ("Q4_K_M"): one entry
  // per tensor of the model; where a rule matched, the rule decides. Empty for
  // formats that follow the scheme and the defaults.
  virtual absl::StatusOr<std::vector<TensorPolicy>> Policies(
      const PolicyRequest& request) const {
    return std::vector<TensorPolicy>();
  }

  // Places tensors in files. By default as safetensors, filled up to
  // max_shard_bytes in order, with an index beside more than one.
  // INVALID_ARGUMENT when that makes more files than readers take.
  virtual absl::StatusOr<ArtifactLayout> LayOut(
      const LayoutRequest& request) const;

  // Whether config, tokenizer and other side files of the source go along.
  virtual bool CarriesSideFiles() const { return true; }

  // Whether loaders read quantized weights of such modules.
  virtual bool TakesClass(ModuleClass module_class) const { return true; }

  // `scheme` as these files can say it, where that limits which numbers may
  // come out.
  virtual Scheme Narrowed(const Scheme& scheme) const { return scheme; }

  // Whether codes that were chosen elsewhere can be written: integers with
  // scales and zero points of their own.
  virtual bool TakesCodes() const { return false; }

  // Stored type of scales for weights of type `source`.
  virtual DType ScaleType(DType source) const = 0;

  // Whether all floating-point tensors are converted, not just the weight
  // matrices of Linear modules.
  virtual bool ConvertsEverything() const { return false; }

  // Whether weights may have more than two dimensions (stacked experts).
  virtual bool TakesStacks() const { return false; }

  // The tensors that one quantized source tensor becomes (not placed).
  virtual std::vector<OutputTensor> Outputs(
      const Codec& codec, const TensorEntry& source) const = 0;

  // Tiles of rows must begin at multiples of this.
  virtual int64_t RowMultiple(const Codec& codec) const = 0;

  // Where readers may begin: rows whose bytes can be told from those of others.
  virtual int64_t ReadMultiple(const Codec& codec) const {
    return RowMultiple(codec);
  }

  // Which bytes the rows [row, row + rows) become. Together the tiles of a
  // tensor fill all its outputs exactly.
  virtual std::vector<ByteRange> TileRanges(const Codec& codec,
                                            const TensorEntry& source,
                                            int64_t row,
                                            int64_t rows) const = 0;

  // The bytes of an output where they don't depend on weights, else nothing.
  // They are written before all tiles: they may lie in front of everything, and
  // a file is hashed from its front.
  virtual std::vector<uint8_t> FixedBytes(const Codec& codec,
                                          const TensorEntry& source,
                                          int output) const {
    return {};
  }

  // Packs a tile into out.data; out.ranges is set by the caller to TileRanges.
  virtual void Pack(const Codec& codec, const TensorEntry& source,
                    const CodeTile& tile, PackedTile& out) const = 0;

  // Whether the tensor scale is that of all parts of a merged module (loaders
  // keep one): it is then found over all of them before any is encoded.
  virtual bool SharesTensorScale(const Scheme& scheme) const { return false; }

  // The inverse of Pack for whole tensors, for verification: `bytes` holds the
  // output tensors' contents. By default UnpackTile of all rows.
  virtual absl::Status Unpack(const Codec& codec, const TensorEntry& source,
                              absl::Span<const absl::Span<const uint8_t>> bytes,
                              CodeTile& out) const;

  // The inverse of Pack for rows [out.first_row, out.first_row + out.rows):
  // `tile` holds their TileRanges with bytes, and every output that has none
  // there (one for the whole tensor) as a whole. The bytes come from outside:
  // DATA_LOSS when they can't be. UNIMPLEMENTED for formats without codes.
  virtual absl::Status UnpackTile(const Codec& codec, const TensorEntry& source,
                                  const PackedTile& tile, CodeTile& out) const;

  // The part of UnpackTile that is small: scales, zero points and groups of
  // columns. `tile` may lack the codes, which are output 0.
  virtual absl::Status UnpackGrid(const Codec& codec, const TensorEntry& source,
                                  const PackedTile& tile, CodeTile& out) const;

  // config.json of the artifact: the source's, with what loaders need. Empty:
  // the artifact has none.
  virtual absl::StatusOr<std::string> Config(
      absl::string_view source_config,
      const std::vector<QuantizedModule>& modules) const = 0;

  // Further text files (quantize_config.json).
  virtual absl::StatusOr<std::vector<TextFile>> MoreTexts(
      const std::vector<QuantizedModule>& modules) const {
    return std::vector<TextFile>();
  }
};

struct FormatInfo {
  absl::string_view name;
  absl::string_view description;
};
std::vector<FormatInfo> Formats();
// INVALID_ARGUMENT UNKNOWN_NAME with the nearest name.
absl::StatusOr<const ArtifactFormat*> FindFormat(absl::string_view name);

}  // namespace quant

#endif  // QUANT_CORE_ARTIFACT_FORMAT_H_
