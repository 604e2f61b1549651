// Records in presentation form, as zone files and dig write them (RFC 1035 section 5, RFC 3597 for
// unknown types). Pure.
#pragma once

#include <string>

#include "dns/message.h"

namespace tombolo::dns {

// "10.0.0.1", "0 100 80 web.default.svc.cluster.local.", "\# 2 0abc".
std::string rdata_text(Type type, const std::string& rdata);
// "NAME TTL CLASS TYPE RDATA".
std::string record_text(const Record& record);

}  // namespace tombolo::dns
