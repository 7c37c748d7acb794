#include "tests/integration/quantd_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <thread>

#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"

namespace quant {
namespace {

std::string Slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

[[noreturn]] void Exec(std::vector<std::string> arguments,
                       const std::string& log) {
  const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(fd, STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

bool Eventually(std::chrono::seconds limit,
                const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < end) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

QuantdProcess::QuantdProcess(const std::filesystem::path& data_dir,
                             const std::vector<std::string>& arguments)
    : data_dir_(data_dir), log_(data_dir.string() + ".log") {
  std::vector<std::string> all = {
      QUANT_QUANTD,  "--data-dir",    data_dir.string(), "--listen",
      "127.0.0.1:0", "--http-listen", "127.0.0.1:0"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  pid_ = fork();
  if (pid_ == 0) Exec(all, log_.string());
}

QuantdProcess::~QuantdProcess() {
  if (pid_ <= 0) return;
  Signal(SIGKILL);
  WaitExit(std::chrono::seconds(30));
}

bool QuantdProcess::WaitReady() {
  // A file of an earlier, killed server names another process.
  const std::string pid = std::to_string(pid_);
  return Eventually(std::chrono::seconds(30), [&] {
    google::protobuf::Struct endpoint;
    if (!google::protobuf::util::JsonStringToMessage(
             Slurp(data_dir_ / "endpoint"), &endpoint)
             .ok()) {
      return false;
    }
    auto& fields = *endpoint.mutable_fields();
    if (static_cast<pid_t>(fields["pid"].number_value()) != pid_) return false;
    grpc_address_ = fields["grpc"].string_value();
    return true;
  });
}

void QuantdProcess::Signal(int signal) {
  if (pid_ > 0) kill(pid_, signal);
}

std::optional<int> QuantdProcess::WaitExit(std::chrono::seconds limit) {
  std::optional<int> code;
  Eventually(limit, [&] {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
    code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    pid_ = -1;
    return true;
  });
  return code;
}

std::shared_ptr<grpc::Channel> QuantdProcess::channel() const {
  grpc::ChannelArguments arguments;
  // Servers come and go on one port: channels must not be shared.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(
      grpc_address_, grpc::InsecureChannelCredentials(), arguments);
}

std::string QuantdProcess::Log() const { return Slurp(log_); }

}  // namespace quant
