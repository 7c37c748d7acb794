#include "tests/client/library/cutting_proxy.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace quant {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  return address;
}

int PortOf(const std::string& address) {
  return std::atoi(address.substr(address.rfind(':') + 1).c_str());
}

int Connect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

bool SendAll(int fd, const char* data, ssize_t size) {
  while (size > 0) {
    const ssize_t n = send(fd, data, static_cast<size_t>(size), MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    size -= n;
  }
  return true;
}

}  // namespace

CuttingProxy::CuttingProxy(const std::string& upstream)
    : upstream_port_(PortOf(upstream)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  listen(listener_, 16);
  getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

CuttingProxy::~CuttingProxy() {
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  CutNow();
  for (const auto& pipe : pipes_) {
    pipe->up.join();
    pipe->down.join();
    close(pipe->client);
    close(pipe->server);
  }
}

std::string CuttingProxy::address() const {
  return "127.0.0.1:" + std::to_string(port_);
}

void CuttingProxy::SetUpstream(const std::string& upstream) {
  std::lock_guard lock(mutex_);
  upstream_port_ = PortOf(upstream);
}

void CuttingProxy::CutNow() {
  std::lock_guard lock(mutex_);
  for (const auto& pipe : pipes_) {
    shutdown(pipe->client, SHUT_RDWR);
    shutdown(pipe->server, SHUT_RDWR);
  }
}

void CuttingProxy::FreezeOpenConnections() {
  std::lock_guard lock(mutex_);
  for (const auto& pipe : pipes_) pipe->frozen = true;
}

void CuttingProxy::Accept() {
  while (true) {
    const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    std::lock_guard lock(mutex_);
    const int server = Connect(upstream_port_);
    if (server < 0) {
      close(client);
      continue;
    }
    ++connections_;
    pipes_.push_back(std::make_unique<Pipe>());
    Pipe& pipe = *pipes_.back();
    pipe.client = client;
    pipe.server = server;
    pipe.up = std::thread(
        [this, &pipe] { Pump(pipe, pipe.client, pipe.server, from_client_); });
    pipe.down = std::thread(
        [this, &pipe] { Pump(pipe, pipe.server, pipe.client, from_server_); });
  }
}

void CuttingProxy::Pump(Pipe& pipe, int from, int to,
                        std::atomic<int64_t>& budget) {
  std::vector<char> buffer(64 << 10);
  while (true) {
    const ssize_t n = recv(from, buffer.data(), buffer.size(), 0);
    if (n <= 0) break;
    if (pipe.frozen) continue;
    const int64_t before = budget.fetch_sub(n);
    if (before < n) {
      budget = INT64_MAX;
      break;
    }
    if (!SendAll(to, buffer.data(), n)) break;
  }
  shutdown(pipe.client, SHUT_RDWR);
  shutdown(pipe.server, SHUT_RDWR);
}

}  // namespace quant
