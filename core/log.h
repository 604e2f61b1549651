// Logging: one line per event, text or JSON, with fields that a component carries along. A Logger
// is a value; the sink is shared. Log where an error stops, not where it passes.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace tombolo {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

class Logger {
 public:
  Logger();  // drops everything: for tests and pure code

  // The same sink with one more field: log.with("cluster", "east").
  Logger with(std::string_view key, std::string_view value) const;

  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kDebug, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kInfo, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kWarning, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kError, format, std::forward<Args>(args)...);
  }

 private:
  friend Logger make_logger(LogLevel, bool);
  template <class... Args>
  void write(LogLevel level, fmt::format_string<Args...> format, Args&&... args) const {
    if (enabled(level)) put(level, fmt::format(format, std::forward<Args>(args)...));
  }
  bool enabled(LogLevel level) const;
  void put(LogLevel level, const std::string& message) const;

  std::shared_ptr<spdlog::logger> sink_;
  std::string fields_;  // ` key=value …`, or `,"key":"value"…` for JSON
  bool json_ = false;
};

// Writes to standard error. JSON: one object a line with time, level, message and the fields.
Logger make_logger(LogLevel level, bool json);

}  // namespace tombolo
