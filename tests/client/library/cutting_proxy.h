// A TCP proxy on loopback that breaks connections on purpose: what a network
// does to a client, done to a real client and a real server.
#ifndef QUANT_TESTS_CLIENT_LIBRARY_CUTTING_PROXY_H_
#define QUANT_TESTS_CLIENT_LIBRARY_CUTTING_PROXY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace quant {

class CuttingProxy {
 public:
  // Listens on a free port; connections go to `upstream` ("127.0.0.1:port").
  explicit CuttingProxy(const std::string& upstream);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  std::string address() const;
  // For connections from now on.
  void SetUpstream(const std::string& upstream);
  // Breaks all connections, once, when that many more bytes have passed.
  void CutAfterFromServer(int64_t bytes) { from_server_ = bytes; }
  void CutAfterFromClient(int64_t bytes) { from_client_ = bytes; }
  void CutNow();
  // Connections that are open now pass nothing any more, without an end: a
  // cable that was pulled.
  void FreezeOpenConnections();
  int connections() const { return connections_; }

 private:
  struct Pipe {
    int client = -1;
    int server = -1;
    std::atomic<bool> frozen = false;
    std::thread up;
    std::thread down;
  };
  void Accept();
  void Pump(Pipe& pipe, int from, int to, std::atomic<int64_t>& budget);

  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_ = 0;
  std::atomic<int64_t> from_server_ = INT64_MAX;
  std::atomic<int64_t> from_client_ = INT64_MAX;
  std::mutex mutex_;
  int upstream_port_ = 0;
  std::vector<std::unique_ptr<Pipe>> pipes_;
  std::thread acceptor_;
};

}  // namespace quant

#endif  // QUANT_TESTS_CLIENT_LIBRARY_CUTTING_PROXY_H_
