// The services that the tests of this folder ask about: two clusters, east (this one) and west.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/tables.h"
#include "dns/message.h"
#include "dns/responder.h"
#include "dns/zone.h"

namespace tombolo::dns::testing {

Backend backend(const std::string& ip, const std::string& cluster, const std::string& hostname = {},
                BackendState state = BackendState::kActive);
ZoneSettings settings();
std::vector<Frontend> rows();
// All rows, synced, serial 1000.
std::shared_ptr<const ZoneSet> zones(bool synced = true);
std::shared_ptr<const ZoneSet> zones_of(const std::vector<Frontend>& rows);

struct Asked {
  Reply reply;
  std::string packet;  // as sent to the client
  Message message;     // parsed, when something was sent
};
// Asks over UDP, or TCP, and requires that what comes back parses.
Asked ask(const ZoneSet& zones, const Message& query, bool tcp = false,
          const ResponderOptions& options = {}, const std::string& client = "10.0.0.99");
Asked ask_packet(const ZoneSet& zones, const std::string& packet, bool tcp = false,
                 const ResponderOptions& options = {}, const std::string& client = "10.0.0.99");
Message query(const std::string& name, Type type);

}  // namespace tombolo::dns::testing
