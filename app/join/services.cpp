// Services that are one as soon as the clusters are joined: same namespace and name. Backends fit
// by the name and protocol of a port (docs/services.md). And the bound on findings.
#include <algorithm>

#include "app/join/internal.h"

namespace tombolo::join {
namespace {

struct PortWords {
  std::string name;  // "http/TCP": what backends are fitted by
  std::string number;
};

// "http 80/TCP".
PortWords words_of(const std::string& text) {
  std::size_t space = text.find(' ');
  std::string name = text.substr(0, space);
  std::string rest = space == std::string::npos ? "" : text.substr(space + 1);
  std::size_t slash = rest.find('/');
  std::string protocol = slash == std::string::npos ? "" : rest.substr(slash);
  return {name + protocol, rest.substr(0, slash)};
}

std::string joined(const std::vector<std::string>& ports) {
  std::string text;
  for (const std::string& port : ports) text += (text.empty() ? "" : ", ") + port;
  return text.empty() ? "no ports" : text;
}

void check_ports(const JoinService& ours, const JoinService& theirs, Findings& findings) {
  std::string title = ours.name_space + "/" + ours.name;
  auto lacks = [](const JoinService& side, const PortWords& wanted) {
    return std::ranges::none_of(
        side.ports, [&](const std::string& port) { return words_of(port).name == wanted.name; });
  };
  bool differ = false;
  for (const std::string& port : ours.ports) differ = differ || lacks(theirs, words_of(port));
  for (const std::string& port : theirs.ports) differ = differ || lacks(ours, words_of(port));
  if (differ)
    return findings.conflict("service", fmt::format("{}: {}", title, joined(ours.ports)),
                             fmt::format("{}: {}", title, joined(theirs.ports)),
                             "give ports the same names and protocols on both sides; what has no "
                             "counterpart gets no backends of the other side");
  for (const std::string& port : ours.ports)
    for (const std::string& other : theirs.ports)
      if (words_of(port).name == words_of(other).name &&
          words_of(port).number != words_of(other).number)
        findings.warning("service", fmt::format("{}: {}", title, port),
                         fmt::format("{}: {}", title, other),
                         "clients use their own cluster's number; make them equal where names of "
                         "the clusterset are used");
}

}  // namespace

void check_services(const JoinFacts& here, const JoinFacts& there, Findings& findings) {
  std::map<std::pair<std::string, std::string>, const JoinService*> known;
  for (const JoinService& service : here.services)
    known[{service.name_space, service.name}] = &service;
  for (const JoinService& theirs : there.services) {
    auto ours = known.find({theirs.name_space, theirs.name});
    if (ours == known.end()) continue;
    std::string title = theirs.name_space + "/" + theirs.name;
    if (ours->second->headless != theirs.headless)
      findings.conflict("service", title + (theirs.headless ? " has an address" : " is headless"),
                        title + (theirs.headless ? " is headless" : " has an address"),
                        "make both headless or neither, or name one of them otherwise");
    else
      check_ports(*ours->second, theirs, findings);
  }
}

void Findings::add(JoinFinding finding) {
  if (++counts_[{finding.severity, finding.kind}] <= kMost) found_.push_back(std::move(finding));
}

std::vector<JoinFinding> Findings::take() {
  for (const auto& [key, count] : counts_)
    if (count > kMost)
      found_.push_back({key.first, key.second, fmt::format("{} more", count - kMost), "",
                        "solve those above first"});
  return std::move(found_);
}

}  // namespace tombolo::join
