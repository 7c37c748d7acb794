// Bringing an artifact home: resumable, and verified while it arrives.
#ifndef QUANT_CLIENT_LIBRARY_DOWNLOAD_H_
#define QUANT_CLIENT_LIBRARY_DOWNLOAD_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "client/library/client.h"
#include "client/library/transfer.h"
#include "quant/v1/artifact.pb.h"

namespace quant {

struct DownloadReport {
  v1::Artifact artifact;
  int64_t files_skipped = 0;    // already there with the right digest
  int64_t bytes_received = 0;   // over the network, repeats included
  int64_t bytes_resumed = 0;    // taken over from interrupted downloads
  int64_t streams = 0;          // opened to get there
  int64_t files_restarted = 0;  // arrived broken and were fetched again
};

// Downloads all files of `artifact` ("artifacts/{id}") into `directory`, which
// is made when it is not there. Files in it that are not of the artifact are
// removed first with TransferOptions::overwrite, and refused without:
// ALREADY_EXISTS OUTPUT_EXISTS.
//
// A file grows as "<path>.part" and gets its name by a rename once its size and
// SHA-256 are those that the server listed; manifest.json comes last, so that
// its presence says that everything is there. A cut connection is taken up at
// the byte where it ended. A later call takes up what an earlier one left:
// parts are hashed again and continued, complete files with the right digest
// are skipped.
//
// Memory is flat: some chunks of the server's, about 1 MiB each. Hashing
// overlaps with receiving and writing.
//
// DATA_LOSS DIGEST_MISMATCH when a file arrives broken twice. NOT_FOUND
// ARTIFACT_NOT_FOUND. CANCELLED after a stop. UNAVAILABLE when nothing came for
// ClientOptions::retry_for. Local errors (disk full, permissions) as they are.
absl::StatusOr<DownloadReport> Download(Client& client,
                                        const std::string& artifact,
                                        const std::string& directory,
                                        const TransferOptions& options = {});

}  // namespace quant

#endif  // QUANT_CLIENT_LIBRARY_DOWNLOAD_H_
