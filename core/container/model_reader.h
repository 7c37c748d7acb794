// A model as people publish it: a Hugging Face directory, or one weight file.
// Opening reads headers only.
#ifndef QUANT_CORE_CONTAINER_MODEL_READER_H_
#define QUANT_CORE_CONTAINER_MODEL_READER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/file.h"
#include "core/container/gguf_value.h"
#include "core/tensor/dtype.h"
#include "core/tensor/ggml_type.h"
#include "core/tensor/shape.h"

namespace quant {

// One tensor of the source.
struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  // For tensors of GGUF blocks: their type. dtype is then U8, for the bytes;
  // shape still counts values.
  std::optional<GgmlType> block_type = std::nullopt;
  Shape shape;         // [out, in] for matrices
  int file = 0;        // index into ModelReader::files()
  int64_t offset = 0;  // first byte, absolute in the file
  int64_t bytes = 0;
};

// "BF16", "Q4_K": the type of the values.
absl::string_view TypeName(const TensorEntry& tensor);

// One weight file of the source.
struct WeightFile {
  std::string name;           // plain file name
  FileIdentity identity;      // when it was opened
  std::string header_digest;  // XXH3-128 of the header bytes, hex
};

// A file beside the weights that an artifact carries along.
struct SideFile {
  std::string name;  // plain file name, or "licences/x"-like relative path
  std::string path;
  int64_t size_bytes = 0;
};

// A side file that lies nowhere: a view makes it of other facts.
struct MadeFile {
  std::string name;  // plain file name
  std::string text;
};

// Immutable after opening; all methods may be called from many threads.
class ModelReader {
 public:
  virtual ~ModelReader() = default;

  // Sorted by name, names unique over all files.
  virtual const std::vector<TensorEntry>& tensors() const = 0;
  virtual const std::vector<WeightFile>& files() const = 0;
  // Text of config.json; empty when there is none (a bare weight file).
  virtual const std::string& config_json() const = 0;
  // The keys of a GGUF model, in file order, without those that describe files;
  // empty for other models.
  virtual absl::Span<const GgufKv> kvs() const { return {}; }
  // By an allow-list: config (config.json itself excluded), tokenizer, chat
  // templates, model card, licence. Never weights, indexes, code or links out.
  virtual const std::vector<SideFile>& side_files() const = 0;
  // Side files that are made, none of which is among side_files().
  virtual absl::Span<const MadeFile> made_files() const { return {}; }
  // What this model lacks of the one that it shows, for people.
  virtual absl::Span<const std::string> notes() const { return {}; }
  // Fills `out` with the tensor's bytes from `begin`, relative to the tensor.
  virtual absl::Status Read(const TensorEntry& tensor, int64_t begin,
                            absl::Span<uint8_t> out) const = 0;
  // FAILED_PRECONDITION SOURCE_CHANGED when a weight file is no longer the one
  // that was opened (size, modification time).
  virtual absl::Status CheckUnchanged() const = 0;
  // The resolved path of the directory or file.
  virtual const std::string& path() const = 0;
  // Resolved path of weight file `file`.
  virtual std::string weight_path(int file) const = 0;
};

// Opens a directory (model.safetensors, or model.safetensors.index.json with
// its shards, or else one GGUF model) or a .safetensors or .gguf file (of a
// split model: the first). NOT_FOUND SOURCE_MISSING when there is nothing to
// read; FAILED_PRECONDITION UNSAFE_FORMAT when there is only a pickle;
// DATA_LOSS MODEL_MALFORMED for broken files and index entries that are not
// plain file names or disagree with the shards.
absl::StatusOr<std::unique_ptr<ModelReader>> OpenModel(const std::string& path);

}  // namespace quant

#endif  // QUANT_CORE_CONTAINER_MODEL_READER_H_
