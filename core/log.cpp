// spdlog behind Logger.
#include "core/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

namespace tombolo {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string quoted(std::string_view text) {
  return boost::json::serialize(boost::json::string(text));
}

}  // namespace

Logger::Logger() = default;

Logger Logger::with(std::string_view key, std::string_view value) const {
  Logger copy = *this;
  copy.fields_ +=
      json_ ? fmt::format(",{}:{}", quoted(key), quoted(value)) : fmt::format(" {}={}", key, value);
  return copy;
}

bool Logger::enabled(LogLevel level) const {
  return sink_ && sink_->should_log(level_of(level));
}

void Logger::put(LogLevel level, const std::string& message) const {
  std::string line =
      json_ ? fmt::format("\"message\":{}{}", quoted(message), fields_) : message + fields_;
  sink_->log(level_of(level), spdlog::string_view_t(line));
}

Logger make_logger(LogLevel level, bool json) {
  Logger logger;
  logger.sink_ = std::make_shared<spdlog::logger>(
      "tombolo", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger.sink_->set_level(level_of(level));
  logger.sink_->set_pattern(json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S.%e%z\",\"level\":\"%l\",%v}"
                                 : "%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
  logger.json_ = json;
  return logger;
}

}  // namespace tombolo
