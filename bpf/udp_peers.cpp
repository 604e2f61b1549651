// Reads the iterator of peers.bpf.c: which UDP sockets reached which backend through a service.
// Blocking; worker.
#include <unistd.h>

#include <cerrno>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"
#include "bpf/peers.skel.h"

namespace tombolo::bpf {
namespace {

constexpr std::size_t kMaxPeers = 65536;  // per call; more are left to the next change

class IteratedPeers : public UdpPeers {
 public:
  explicit IteratedPeers(peers_bpf* skeleton) : skeleton_(skeleton) {}
  ~IteratedPeers() override {
    bpf_link__destroy(link_);
    peers_bpf__destroy(skeleton_);
  }
  IteratedPeers(const IteratedPeers&) = delete;
  IteratedPeers& operator=(const IteratedPeers&) = delete;

  Result<void> load(int sockets_fd) {
    LibbpfLog log;
    if (int error = peers_bpf__load(skeleton_); error != 0)
      return fail(Code::kFailedPrecondition,
                  "closing stuck UDP sockets needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF): {}",
                  log.text());
    bpf_iter_link_info info{};
    info.map.map_fd = static_cast<__u32>(sockets_fd);
    LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &info, .link_info_len = sizeof(info));
    link_ = bpf_program__attach_iter(skeleton_->progs.udp_peers, &options);
    if (link_ == nullptr) return fail_errno(errno, "attach the iterator over sockets");
    return {};
  }

  Result<std::vector<abi::lb_udp_peer>> of(const std::set<abi::lb_endpoint>& backends) override {
    Descriptor iterator(bpf_iter_create(bpf_link__fd(link_)));
    if (!iterator) return fail_errno(errno, "start the iterator over sockets");
    std::vector<abi::lb_udp_peer> found;
    std::vector<abi::lb_udp_peer> buffer(1024);
    auto* bytes = reinterpret_cast<char*>(buffer.data());
    std::size_t held = 0;  // a read may end inside of a record
    while (found.size() < kMaxPeers) {
      ssize_t got = read(iterator.get(), bytes + held, buffer.size() * sizeof(buffer[0]) - held);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (got < 0) return fail_errno(errno, "read the iterator over sockets");
      if (got == 0) break;
      held += static_cast<std::size_t>(got);
      std::size_t whole = held / sizeof(buffer[0]);
      for (std::size_t i = 0; i < whole; ++i)
        if (backends.contains(buffer[i].backend)) found.push_back(buffer[i]);
      held -= whole * sizeof(buffer[0]);
      std::memmove(bytes, bytes + whole * sizeof(buffer[0]), held);
    }
    return found;
  }

 private:
  peers_bpf* skeleton_;
  bpf_link* link_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<UdpPeers>> open_udp_peers(int sockets_fd) {
  peers_bpf* skeleton = peers_bpf__open();
  if (skeleton == nullptr) return fail_errno(errno, "open the embedded iterator");
  auto peers = std::make_unique<IteratedPeers>(skeleton);
  TRY_OK(peers->load(sockets_fd));
  return peers;
}

}  // namespace tombolo::bpf
