// A real quantd in a process of its own, on free ports.
#ifndef QUANT_TESTS_INTEGRATION_QUANTD_PROCESS_H_
#define QUANT_TESTS_INTEGRATION_QUANTD_PROCESS_H_

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace quant {

class QuantdProcess {
 public:
  // Starts quantd with the data directory and more arguments; its stderr goes
  // to a file beside the data directory.
  QuantdProcess(const std::filesystem::path& data_dir,
                const std::vector<std::string>& arguments);
  // Kills what is left.
  ~QuantdProcess();
  QuantdProcess(const QuantdProcess&) = delete;
  QuantdProcess& operator=(const QuantdProcess&) = delete;

  // Waits until it is ready: true, or false when it ended or 30 s are over.
  bool WaitReady();
  void Signal(int signal);
  // The exit code, or 128 + signal; nothing when it still runs after the time.
  std::optional<int> WaitExit(std::chrono::seconds limit);

  std::shared_ptr<grpc::Channel> channel() const;
  // "127.0.0.1:port", once it is ready.
  const std::string& grpc_address() const { return grpc_address_; }
  std::string Log() const;
  pid_t pid() const { return pid_; }

 private:
  const std::filesystem::path data_dir_;
  const std::filesystem::path log_;
  pid_t pid_ = -1;
  std::string grpc_address_;
};

// Looks every few milliseconds; false when the time is over.
bool Eventually(std::chrono::seconds limit,
                const std::function<bool()>& condition);

}  // namespace quant

#endif  // QUANT_TESTS_INTEGRATION_QUANTD_PROCESS_H_
