// The embedded UploadStore.
//
//   blobs/<sha256>            complete, verified
//   blobs/incoming/<sha256>   being received
//   tenants/<name>/blobs/     the same for the blobs of a tenant
//   uploads/<id>.json         the declaration
//   uploads/<id>/             the files, as hard links, once complete
#ifndef QUANT_SERVER_STORE_LOCAL_UPLOAD_STORE_H_
#define QUANT_SERVER_STORE_LOCAL_UPLOAD_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "server/store/upload_store.h"

namespace quant {

struct LocalUploadStoreOptions {
  bool sync = true;
  const Clock* clock = &Clock::System();
};

absl::StatusOr<std::unique_ptr<UploadStore>> OpenLocalUploadStore(
    const std::string& root, const LocalUploadStoreOptions& options = {});

}  // namespace quant

#endif  // QUANT_SERVER_STORE_LOCAL_UPLOAD_STORE_H_
