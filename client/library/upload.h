// Bringing a local model to the server: only what it lacks, by SHA-256.
#ifndef QUANT_CLIENT_LIBRARY_UPLOAD_H_
#define QUANT_CLIENT_LIBRARY_UPLOAD_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/library/client.h"
#include "client/library/transfer.h"
#include "quant/v1/model.pb.h"

namespace quant {

// A file that would travel.
struct LocalFile {
  std::string path;  // relative, as the server will know it
  std::string location;
  int64_t size_bytes = 0;
};

struct UploadReport {
  v1::Upload upload;          // complete; upload.name() is a job's source
  int64_t files_sent = 0;     // the server had the others already
  int64_t bytes_sent = 0;     // over the network, repeats included
  int64_t bytes_resumed = 0;  // that earlier calls had sent already
  int64_t streams = 0;
};

// What an upload of `path` would send, sorted: a .safetensors or .gguf file
// alone, or of a directory the weights (*.safetensors, *.gguf), their index,
// the configuration, tokenizer, chat template, model card and licence. Nothing
// else ever leaves the machine: no code, no pickles, no hidden files, no
// subdirectories. NOT_FOUND SOURCE_MISSING when there are no weights.
absl::StatusOr<std::vector<LocalFile>> ListModelFiles(const std::string& path);

// Whether a file of this name belongs to a model, by that list.
bool IsModelFileName(absl::string_view name);

// Hashes the files, declares them, and sends what the server lacks. A cut
// connection is taken up at the byte that the server committed, and so is an
// upload that an earlier call left; complete files are never sent again.
// FAILED_PRECONDITION SOURCE_CHANGED when a file changes meanwhile.
// CANCELLED after a stop; errors of ModelService.CreateUpload; UNAVAILABLE when
// nothing moved for ClientOptions::retry_for.
absl::StatusOr<UploadReport> Upload(Client& client, const std::string& path,
                                    const TransferOptions& options = {});

// The same for one file of any name: an importance matrix.
absl::StatusOr<UploadReport> UploadFile(Client& client, const std::string& path,
                                        const TransferOptions& options = {});

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_UPLOAD_H_
