// What a worker process can't do, tried by processes in its sandbox.
#include "server/worker/sandbox.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/base/sanitizer.h"
#include "tests/server/worker/worker_test_base.h"

namespace quant {
namespace {

namespace fs = std::filesystem;

class SandboxTest : public WorkerTest {
 protected:
  void SetUp() override {
    work_ = root_ + "/confined";
    fs::create_directories(work_);
    std::ofstream(root_ + "/outside.txt") << "readable";
  }

  // What `probe` answers in a child that has entered the sandbox.
  int InSandbox(const std::function<int()>& probe) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (!EnterSandbox(work_).empty()) ::_exit(200);
      ::_exit(probe());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    return WEXITSTATUS(status);
  }
  // 0 when it can be made, else why not.
  static int SocketError(int family, int type) {
    return ::socket(family, type, 0) >= 0 ? 0 : errno;
  }
  static int OpenError(const std::string& path, int flags) {
    return ::open(path.c_str(), flags, 0600) >= 0 ? 0 : errno;
  }

  std::string work_;
};

TEST_F(SandboxTest, ThisKernelHasAllOfIt) {
  EXPECT_EQ(InSandbox([] { return 0; }), 0)
      << "the kernel lacks seccomp or Landlock: quantd says so in its log";
}

TEST_F(SandboxTest, NoSockets) {
  for (const int family : {AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET}) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW}) {
      EXPECT_EQ(InSandbox([&] { return SocketError(family, type); }), EPERM)
          << family << " " << type;
    }
  }
  EXPECT_EQ(InSandbox([] {
              int ends[2];
              return ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 ? 0
                                                                      : errno;
            }),
            EPERM);
  EXPECT_EQ(SocketError(AF_INET, SOCK_STREAM), 0) << "outside there are some";
}

TEST_F(SandboxTest, NoSocketsByAnotherWay) {
  EXPECT_EQ(
      InSandbox([] {
        io_uring_params parameters = {};
        return ::syscall(__NR_io_uring_setup, 1, &parameters) >= 0 ? 0 : errno;
      }),
      EPERM);
#if defined(__x86_64__)
  // The same call by its number in the x32 ABI.
  EXPECT_EQ(InSandbox([] {
              return ::syscall(__NR_socket | 0x40000000, AF_INET, SOCK_STREAM,
                               0) >= 0
                         ? 0
                         : errno;
            }),
            EPERM);
#endif
}

TEST_F(SandboxTest, ASocketThatWasInheritedGoesOn) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  EXPECT_EQ(InSandbox([&] {
              return ::send(ends[1], "x", 1, MSG_NOSIGNAL) == 1 ? 0 : errno;
            }),
            0);
  char byte = 0;
  EXPECT_EQ(::recv(ends[0], &byte, 1, 0), 1);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(SandboxTest, WritesInTheWorkDirectoryOnly) {
  const std::string inside = work_ + "/file", outside = root_ + "/outside.txt";
  EXPECT_EQ(InSandbox([&] {
              fs::create_directories(work_ + "/a/b");
              const int error = OpenError(inside, O_WRONLY | O_CREAT);
              if (error != 0) return error;
              // Between directories, as outputs are published.
              const std::string moved = work_ + "/a/b/moved";
              if (::rename(inside.c_str(), moved.c_str()) != 0) return errno;
              return ::truncate(moved.c_str(), 0) == 0 ? 0 : errno;
            }),
            0);
  for (const auto& [path, flags] : {std::pair(outside, O_WRONLY),
                                    {outside, O_RDWR | O_TRUNC},
                                    {root_ + "/new", O_WRONLY | O_CREAT},
                                    {work_ + "/../new", O_RDWR | O_CREAT}}) {
    EXPECT_EQ(InSandbox([&] { return OpenError(path, flags); }), EACCES)
        << path;
  }
  EXPECT_EQ(
      InSandbox([&] { return ::unlink(outside.c_str()) == 0 ? 0 : errno; }),
      EACCES);
  EXPECT_EQ(InSandbox([&] { return OpenError(outside, O_RDONLY); }), 0);
}

#if !QUANT_SANITIZED
TEST_F(SandboxTest, NoPrograms) {
  EXPECT_EQ(InSandbox([] {
              char name[] = "/bin/true";
              char* arguments[] = {name, nullptr};
              ::execv(name, arguments);
              return errno;
            }),
            EPERM);
}

TEST_F(SandboxTest, ThreadsButNoSecondProcess) {
  EXPECT_EQ(InSandbox([] {
              const pid_t pid = ::fork();
              if (pid == 0) ::_exit(0);
              return pid > 0 ? 0 : errno;
            }),
            EPERM);
  EXPECT_EQ(InSandbox([] {
              int seven = 0;
              std::thread([&] { seven = 7; }).join();
              return seven;
            }),
            7);
}

TEST_F(SandboxTest, SignalsToItselfOnly) {
  const pid_t parent = ::getpid();
  const std::function<int64_t()> kills[] = {
      [&] { return ::kill(parent, 0); },
      [&] { return ::syscall(__NR_tkill, parent, 0); },
      [&] { return ::syscall(__NR_tgkill, parent, parent, 0); },
      [&] { return ::sigqueue(parent, 0, {}); },
      [&] {
        siginfo_t info = {};
        info.si_code = SI_QUEUE;
        return ::syscall(__NR_rt_tgsigqueueinfo, parent, parent, 0, &info);
      }};
  for (const auto& one : kills) {
    EXPECT_EQ(InSandbox([&] { return one() == 0 ? 0 : errno; }), EPERM)
        << &one - kills;
  }
  EXPECT_EQ(InSandbox([] {
              ::signal(SIGUSR1, SIG_IGN);
              return ::raise(SIGUSR1) == 0 ? 0 : errno;
            }),
            0);
}
#endif

TEST_F(SandboxTest, LimitsOfItselfOnly) {
  const auto set = [](pid_t pid) {
    rlimit limit = {};
    return ::prlimit(pid, RLIMIT_CPU, nullptr, &limit) == 0 ? 0 : errno;
  };
  const pid_t parent = ::getpid();
  EXPECT_EQ(InSandbox([&] { return set(parent); }), EPERM);
  EXPECT_EQ(InSandbox([&] { return set(0); }), 0);
  EXPECT_EQ(InSandbox([&] { return set(::getpid()); }), 0);
}

// Landlock does not look at these, inside or outside of the work directory.
TEST_F(SandboxTest, NoRightsOwnersOrTimesOfFiles) {
  const std::string path = root_ + "/outside.txt";
  const std::function<int64_t(int)> changes[] = {
      [&](int) { return ::chmod(path.c_str(), 0777); },
      [](int fd) { return ::fchmod(fd, 0777); },
      [&](int) { return ::chown(path.c_str(), 0, 0); },
      [](int fd) { return ::fchown(fd, 0, 0); },
      [](int fd) { return ::futimens(fd, nullptr); },
      [&](int) { return ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0); },
      [&](int) { return ::setxattr(path.c_str(), "user.a", "b", 1, 0); },
      [](int fd) { return ::fsetxattr(fd, "user.a", "b", 1, 0); }};
  for (const auto& one : changes) {
    EXPECT_EQ(InSandbox([&] {
                const int fd = ::open(path.c_str(), O_RDONLY);
                return one(fd) == 0 ? 0 : errno;
              }),
              EPERM)
        << &one - changes;
  }
}

TEST_F(SandboxTest, NoMountsByEitherInterface) {
  const int numbers[] = {__NR_mount,     __NR_fsopen,       __NR_fsconfig,
                         __NR_fsmount,   __NR_fspick,       __NR_move_mount,
                         __NR_open_tree, __NR_mount_setattr};
  for (const int number : numbers) {
    EXPECT_EQ(InSandbox([&] {
                return ::syscall(number, 0, 0, 0, 0, 0) >= 0 ? 0 : errno;
              }),
              EPERM)
        << number;
  }
}

TEST_F(SandboxTest, NoCoreFewFilesAndNoneTooLong) {
  EXPECT_EQ(InSandbox([&] {
              rlimit core = {}, files = {};
              ::getrlimit(RLIMIT_CORE, &core);
              ::getrlimit(RLIMIT_NOFILE, &files);
              if (core.rlim_max != 0 || files.rlim_max > 4096) return 1;
              LimitFileSize(1000);
              const std::string path = work_ + "/long";
              const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
              const std::string bytes(1000, 'x');
              if (::write(fd, bytes.data(), bytes.size()) != 1000) return 2;
              return ::write(fd, "y", 1) == 1 ? 0 : errno;
            }),
            EFBIG);
}

// The real thing: a child of a pool, while it works.
TEST_F(SandboxTest, AttemptsRunInIt) {
  const std::string id = Enqueue(Spec(SlowModel(), "mse"));
  StartPool();
  WaitForHalf(id);
  std::ifstream status("/proc/" + std::to_string(WaitForChild()) + "/status");
  std::string line;
  std::set<std::string> found;
  while (std::getline(status, line)) {
    if (line == "NoNewPrivs:\t1" || line == "Seccomp:\t2") found.insert(line);
  }
  EXPECT_EQ(found.size(), 2u);
  EXPECT_EQ(WaitForEnd(id).state, JobState::kSucceeded);
  EXPECT_THAT(metrics_.Render(), testing::HasSubstr("quant_worker_confined 1"));
}

}  // namespace
}  // namespace quant
