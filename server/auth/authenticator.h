// Tells who calls, by the file of --auth-file, which may change at any time: a
// new one that can't be read whole leaves the old one in force, and says so.
// Thread-safe.
#ifndef QUANT_SERVER_AUTH_AUTHENTICATOR_H_
#define QUANT_SERVER_AUTH_AUTHENTICATOR_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/auth/auth_file.h"

namespace quant {

// What a call brings.
struct Credentials {
  std::vector<std::string> authorization;      // values of that header
  std::vector<std::string> certificate_names;  // of a verified certificate
};

class Authenticator {
 public:
  struct Options {
    int64_t poll_micros = 1'000'000;
    // After each load that differs: how many principals, or why it was refused.
    // On a thread of the authenticator; the first one on the caller's.
    std::function<void(const absl::StatusOr<int64_t>&)> loaded = nullptr;
  };

  // The file's error when it is bad from the beginning.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Open(
      const std::string& path, Options options);

  // UNAUTHENTICATED; the message repeats nothing of the credentials. A token
  // counts before a certificate, and a wrong one is not made good by it.
  absl::StatusOr<PrincipalPtr> Authenticate(
      const Credentials& credentials) const;

 private:
  Authenticator(std::string path, Options options);
  // Reads the file again; nothing happens when it is as it was.
  absl::Status Load();
  // What text_ says is in force from now on; answers how many principals.
  absl::StatusOr<int64_t> Adopt();
  void Watch(std::stop_token stop);

  const std::string path_;
  const Options options_;
  // As last read; used by one thread at a time.
  std::string text_;
  absl::Status unreadable_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  std::shared_ptr<const AuthTable> table_;  // shared with calls being checked
  std::jthread watcher_;                    // last: uses all of the above
};

}  // namespace quant

#endif  // QUANT_SERVER_AUTH_AUTHENTICATOR_H_
