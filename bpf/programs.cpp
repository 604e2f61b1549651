// Loads the socket programs, with the pinned maps of an earlier life where there are any, and
// attaches them by pinned links at the cgroup. A link that exists gets the new program in one step
// (BPF_LINK_UPDATE), so sockets are never without one. Blocking; before the control loop runs.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"
#include "bpf/sock.skel.h"

namespace tombolo::bpf {
namespace {

Result<std::uint64_t> cgroup_id(const std::string& path) {
  struct stat found{};
  if (stat(path.c_str(), &found) != 0) return fail_errno(errno, "cgroup_root {}", path);
  return found.st_ino;  // kernfs: the inode number is the cgroup's id on 64-bit kernels
}

class LoadedPrograms : public Programs {
 public:
  explicit LoadedPrograms(sock_bpf* skeleton) : skeleton_(skeleton) {}
  ~LoadedPrograms() override {
    for (bpf_link* link : links_) bpf_link__destroy(link);  // pinned: stays attached
    sock_bpf__destroy(skeleton_);
  }
  LoadedPrograms(const LoadedPrograms&) = delete;
  LoadedPrograms& operator=(const LoadedPrograms&) = delete;

  Result<void> load(const PinFolder& pins) {
    LibbpfLog log;
    skeleton_->rodata->has_set_retval =
        libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, nullptr) == 1;
    std::vector<std::pair<bpf_map*, std::string>> fresh;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, skeleton_->obj) {
      if (bpf_map__is_internal(map)) continue;  // .rodata belongs to one load
      std::string path = pins.maps() + "/" + bpf_map__name(map);
      TRY(taken, take_over_map(map, path));
      if (!taken) fresh.emplace_back(map, path);
    }
    if (int error = sock_bpf__load(skeleton_); error != 0)
      return fail_errno(-error, "the kernel refuses the socket programs: {}", log.text());
    for (auto& [one, path] : fresh)
      if (int error = bpf_map__pin(one, path.c_str()); error != 0)
        return fail_errno(-error, "pin {}", path);
    return {};
  }

  Result<void> attach(const PinFolder& pins, const std::string& cgroup_root) {
    LibbpfLog log;  // a pin that is not there yet is no news
    TRY(id, cgroup_id(cgroup_root));
    Descriptor cgroup(::open(cgroup_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup) return fail_errno(errno, "cgroup_root {}", cgroup_root);
    // What translates answers first, then what makes translations.
    for (bpf_program* program :
         {skeleton_->progs.recvmsg4, skeleton_->progs.recvmsg6, skeleton_->progs.getpeername4,
          skeleton_->progs.getpeername6, skeleton_->progs.sendmsg4, skeleton_->progs.sendmsg6,
          skeleton_->progs.connect4, skeleton_->progs.connect6})
      TRY_OK(
          attach_one(program, cgroup.get(), id, pins.links() + "/" + bpf_program__name(program)));
    return {};
  }

  int map_fd(const std::string& name) const override {
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, name.c_str());
    ENSURE(map != nullptr, "no map {}", name);
    return bpf_map__fd(map);
  }

  Result<std::vector<ProgramFacts>> facts() const override {
    std::vector<ProgramFacts> facts;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, skeleton_->obj) {
      bpf_prog_info info{};
      __u32 size = sizeof(info);
      if (bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0)
        return fail_errno(errno, "facts of {}", bpf_program__name(program));
      facts.push_back({bpf_program__name(program), info.verified_insns, info.jited_prog_len});
    }
    return facts;
  }

 private:
  // The link at `path`, when it is attached to this cgroup for this hook.
  static bpf_link* usable_link(const std::string& path, bpf_program* program, std::uint64_t id) {
    bpf_link* link = bpf_link__open(path.c_str());
    if (link == nullptr) return nullptr;
    bpf_link_info info{};
    __u32 size = sizeof(info);
    bool usable =
        bpf_link_get_info_by_fd(bpf_link__fd(link), &info, &size) == 0 &&
        info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == id &&
        info.cgroup.attach_type == static_cast<__u32>(bpf_program__expected_attach_type(program));
    if (usable) return link;
    bpf_link__destroy(link);  // of a cgroup that is gone or no longer ours
    return nullptr;
  }

  Result<void> attach_one(bpf_program* program, int cgroup_fd, std::uint64_t id,
                          const std::string& path) {
    if (bpf_link* link = usable_link(path, program, id); link != nullptr) {
      links_.push_back(link);
      if (int error = bpf_link__update_program(link, program); error != 0)
        return fail_errno(-error, "give the link {} its new program", path);
      return {};
    }
    bpf_link* link = bpf_program__attach_cgroup(program, cgroup_fd);
    if (link == nullptr) return fail_errno(errno, "attach {}", bpf_program__name(program));
    links_.push_back(link);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "remove {}", path);
    if (int error = bpf_link__pin(link, path.c_str()); error != 0)
      return fail_errno(-error, "pin {}", path);
    return {};
  }

  sock_bpf* skeleton_;
  std::vector<bpf_link*> links_;
};

}  // namespace

Result<std::unique_ptr<Programs>> load_programs(const PinFolder& pins,
                                                const std::string& cgroup_root) {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  sock_bpf* skeleton = sock_bpf__open();
  if (skeleton == nullptr) return fail_errno(errno, "open the embedded socket programs");
  auto programs = std::make_unique<LoadedPrograms>(skeleton);
  TRY_OK(programs->load(pins));
  TRY_OK(programs->attach(pins, cgroup_root));
  return programs;
}

}  // namespace tombolo::bpf
