// libbpf explains a refusal on a channel of its own, for the whole process: kept for the error's
// text.
#include <array>
#include <cstdarg>
#include <cstdio>

#include "bpf/internal.h"
#include "bpf/libbpf_api.h"

namespace tombolo::bpf {
namespace {

constexpr std::size_t kKept = 2000;
thread_local std::string* t_log = nullptr;

int keep(libbpf_print_level level, const char* format, va_list arguments) {
  if (t_log == nullptr || level == LIBBPF_DEBUG) return 0;
  std::array<char, 512> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  *t_log += line.data();
  if (t_log->size() > kKept) t_log->erase(0, t_log->size() - kKept);
  return 0;
}

}  // namespace

LibbpfLog::LibbpfLog() {
  libbpf_set_print(keep);
  t_log = &text_;
}

LibbpfLog::~LibbpfLog() {
  t_log = nullptr;
}

}  // namespace tombolo::bpf
