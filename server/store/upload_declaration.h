// What an upload declares, as the JSON file that stands for it. Private to
// server/store.
#ifndef QUANT_SERVER_STORE_UPLOAD_DECLARATION_H_
#define QUANT_SERVER_STORE_UPLOAD_DECLARATION_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/upload_store.h"

namespace quant {

// INVALID_ARGUMENT INVALID_SPEC with the field ("files[0].path").
absl::Status CheckDeclaration(const std::vector<StoredFile>& files);

// Of create_time, tenant and files.
std::string DeclarationToJson(const UploadRecord& upload);
// DATA_LOSS when the text is no declaration.
absl::StatusOr<UploadRecord> ParseDeclaration(const std::string& text);

}  // namespace quant

#endif  // QUANT_SERVER_STORE_UPLOAD_DECLARATION_H_
