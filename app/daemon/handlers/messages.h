// Rows as messages of the admin API: the small conversions that several handlers share.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "core/clock.h"

namespace tombolo {

inline google::protobuf::Timestamp timestamp_of(WallTime time) {
  google::protobuf::Timestamp message;
  auto nanoseconds = time.time_since_epoch().count();
  message.set_seconds(nanoseconds / 1'000'000'000);
  message.set_nanos(static_cast<std::int32_t>(nanoseconds % 1'000'000'000));
  return message;
}

inline google::protobuf::Duration duration_of(Duration duration) {
  google::protobuf::Duration message;
  message.set_seconds(duration.count() / 1'000'000'000);
  message.set_nanos(static_cast<std::int32_t>(duration.count() % 1'000'000'000));
  return message;
}

}  // namespace tombolo
