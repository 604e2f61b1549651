// A pinned map of an earlier life, when it is the map that the programs want. Blocking.
#include <cerrno>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"

namespace tombolo::bpf {
namespace {

std::string describe(std::uint32_t type, std::uint32_t key, std::uint32_t value,
                     std::uint32_t entries, std::uint32_t flags) {
  const char* name = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
  return fmt::format("{} with keys of {} bytes, values of {}, {} entries, flags {:#x}",
                     name == nullptr ? "?" : name, key, value, entries, flags);
}

}  // namespace

Result<bool> take_over_map(bpf_map* map, const std::string& path) {
  Descriptor fd(bpf_obj_get(path.c_str()));
  if (!fd && errno == ENOENT) return false;
  if (!fd) return fail_errno(errno, "open pinned map {}", path);
  bpf_map_info info{};
  __u32 size = sizeof(info);
  if (bpf_map_get_info_by_fd(fd.get(), &info, &size) != 0)
    return fail_errno(errno, "{} is not a map that this process may read", path);
  std::string wanted =
      describe(bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map),
               bpf_map__max_entries(map), bpf_map__map_flags(map));
  std::string found =
      describe(info.type, info.key_size, info.value_size, info.max_entries, info.map_flags);
  if (wanted != found)
    return fail(Code::kFailedPrecondition,
                "{} is a {}, not a {}: another program's or another build's pin; move it away or "
                "remove the pins",
                path, found, wanted);
  if (bpf_map__reuse_fd(map, fd.get()) != 0) return fail_errno(errno, "use pinned map {}", path);
  return true;
}

}  // namespace tombolo::bpf
