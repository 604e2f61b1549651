// Question tables: names of cluster.local and clusterset.local and what they are answered with.
// Addresses rotate, so sections are compared as sets.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "dns/test_zone.h"
#include "dns/text.h"

namespace tombolo::dns {
namespace {

using testing::ask;
using testing::query;

const std::string kSoa =
    "cluster.local. 2 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400 "
    "2";
const std::string kSetSoa =
    "clusterset.local. 2 IN SOA ns.dns.clusterset.local. hostmaster.clusterset.local. 1000 7200 "
    "1800 86400 2";
const std::string kGlue4 = "169.254.20.10";

struct Case {
  std::string name;  // of the question
  Type type;
  Rcode rcode;
  std::vector<std::string> answers;
  std::vector<std::string> authority;
  std::vector<std::string> extra;
};

std::vector<std::string> texts(const std::vector<Record>& records) {
  std::vector<std::string> lines;
  for (const Record& record : records) lines.push_back(record_text(record));
  std::ranges::sort(lines);
  return lines;
}

void check(const Case& c) {
  auto zones = testing::zones();
  CAPTURE(c.name, to_string(c.type));
  testing::Asked asked = ask(*zones, query(c.name, c.type));
  REQUIRE(asked.reply.action == Reply::Action::kSend);
  REQUIRE(to_string(asked.message.rcode) == to_string(c.rcode));
  auto sorted = [](std::vector<std::string> lines) {
    std::ranges::sort(lines);
    return lines;
  };
  REQUIRE(texts(asked.message.answers) == sorted(c.answers));
  REQUIRE(texts(asked.message.authorities) == sorted(c.authority));
  REQUIRE(texts(asked.message.additionals) == sorted(c.extra));
  bool ours = c.rcode == Rcode::kNoError || c.rcode == Rcode::kNxDomain;
  REQUIRE(((asked.message.flags & kFlagAa) != 0) == ours);
  REQUIRE(asked.message.questions.at(0).name.text() == c.name);
}

Case nodata(const std::string& name, Type type = Type::kA) {
  return {name, type, Rcode::kNoError, {}, {name.ends_with("clusterset.local.") ? kSetSoa : kSoa},
          {}};
}
Case nxdomain(const std::string& name, Type type = Type::kA) {
  return {name, type, Rcode::kNxDomain, {}, {name.ends_with("clusterset.local.") ? kSetSoa : kSoa},
          {}};
}
Case positive(const std::string& name, Type type, std::vector<std::string> rdata,
              std::vector<std::string> extra = {}) {
  for (auto& line : rdata)
    line =
        fmt::format("{} {} IN {} {}", name, type == Type::kTxt ? 28800 : 5, to_string(type), line);
  return {name, type, Rcode::kNoError, std::move(rdata), {}, std::move(extra)};
}

}  // namespace

TEST_CASE("cluster.local: services with addresses") {
  const std::string web = "web.default.svc.cluster.local.";
  const std::string web4 = web + " 5 IN A 10.1.0.1";
  const std::string web6 = web + " 5 IN AAAA fd00:10:1::1";
  check(GENERATE_COPY(values<Case>({
      positive(web, Type::kA, {"10.1.0.1"}),
      positive(web, Type::kAaaa, {"fd00:10:1::1"}),
      positive("WeB.DeFault.SVC.cluster.LOCAL.", Type::kA, {"10.1.0.1"}),
      positive("single.default.svc.cluster.local.", Type::kA, {"10.1.0.2"}),
      nodata("single.default.svc.cluster.local.", Type::kAaaa),
      nodata(web, Type::kTxt),
      nodata(web, Type::kSrv),
      nodata(web, Type::kMx),
      nodata(web, Type::kHttps),
      nodata(web, Type::kNs),
      nodata(web, static_cast<Type>(65280)),
      {web, Type::kAny, Rcode::kNoError, {web + R"( 5 IN HINFO "RFC8482" "")"}, {}, {}},
      positive("_http._tcp." + web, Type::kSrv, {"0 100 80 " + web}, {web4, web6}),
      positive("_dns._udp." + web, Type::kSrv, {"0 100 53 " + web}, {web4, web6}),
      nodata("_http._tcp." + web),
      nodata("_tcp." + web),
      nodata("_tcp." + web, Type::kSrv),
      nodata("_udp." + web, Type::kAny),
      nxdomain("_sctp." + web, Type::kSrv),
      nxdomain("_nope._tcp." + web, Type::kSrv),
      nxdomain("_tcp.single.default.svc.cluster.local.", Type::kSrv),
      nxdomain("_http._udp." + web, Type::kSrv),
      nxdomain("a._http._tcp." + web, Type::kSrv),
      nxdomain("10-3-0-1." + web),
      nxdomain("nothing.default.svc.cluster.local."),
      nxdomain("nothing.default.svc.cluster.local.", Type::kAaaa),
      nxdomain("nothing.default.svc.cluster.local.", Type::kTxt),
      nxdomain("cart.shop.svc.cluster.local."),
      nxdomain("web.data.svc.cluster.local."),
  })));
}

TEST_CASE("cluster.local: the zone itself, namespaces, empty non-terminals") {
  const std::string ns = "ns.dns.cluster.local.";
  check(GENERATE_COPY(values<Case>({
      {"cluster.local.", Type::kSoa, Rcode::kNoError, {kSoa}, {}, {}},
      {"cluster.local.",
       Type::kNs,
       Rcode::kNoError,
       {"cluster.local. 5 IN NS " + ns},
       {},
       {ns + " 5 IN A " + kGlue4, ns + " 5 IN AAAA fd00::a"}},
      nodata("cluster.local."),
      nodata("cluster.local.", Type::kAaaa),
      nodata("cluster.local.", Type::kSrv),
      positive(ns, Type::kA, {kGlue4}),
      positive(ns, Type::kAaaa, {"fd00::a"}),
      nodata("dns.cluster.local."),
      positive("dns-version.cluster.local.", Type::kTxt, {R"("1.1.0")"}),
      nodata("dns-version.cluster.local."),
      nodata("svc.cluster.local."),
      nodata("default.svc.cluster.local."),
      nodata("default.svc.cluster.local.", Type::kSrv),
      nodata("quiet.svc.cluster.local."),
      nxdomain("unknown.svc.cluster.local."),
      nxdomain("shop.svc.cluster.local."),
      nxdomain("web.unknown.svc.cluster.local."),
      nxdomain("pod.cluster.local."),
      nxdomain("10-3-0-1.default.pod.cluster.local."),
      nxdomain("hostmaster.cluster.local."),
      nxdomain("x.dns-version.cluster.local."),
      nxdomain("x.ns.dns.cluster.local."),
      nxdomain("other.dns.cluster.local."),
      nxdomain("web.default.cluster.local."),
      nxdomain("web.default.svc.svc.cluster.local."),
      {"a.cluster.local.", Type::kAxfr, Rcode::kRefused, {}, {}, {}},
      {"cluster.local.", Type::kAxfr, Rcode::kRefused, {}, {}, {}},
      {"cluster.local.", Type::kIxfr, Rcode::kRefused, {}, {}, {}},
      {"cluster.local.", Type::kMaila, Rcode::kNotImp, {}, {}, {}},
      {"cluster.local.", Type::kTkey, Rcode::kFormErr, {}, {}, {}},
      {"xcluster.local.", Type::kA, Rcode::kRefused, {}, {}, {}},
      {"local.", Type::kA, Rcode::kRefused, {}, {}, {}},
      {"www.example.org.", Type::kA, Rcode::kRefused, {}, {}, {}},
      {".", Type::kNs, Rcode::kRefused, {}, {}, {}},
  })));
}

TEST_CASE("cluster.local: headless services show endpoints of this cluster") {
  const std::string db = "db.data.svc.cluster.local.";
  check(GENERATE_COPY(values<Case>({
      positive(db, Type::kA, {"10.3.0.1", "10.3.0.2"}),
      positive(db, Type::kAaaa, {"fd00:10:3::1"}),
      nodata(db, Type::kTxt),
      positive("db-0." + db, Type::kA, {"10.3.0.1"}),
      positive("db-0." + db, Type::kAaaa, {"fd00:10:3::1"}),
      positive("10-3-0-2." + db, Type::kA, {"10.3.0.2"}),
      nodata("10-3-0-2." + db, Type::kAaaa),
      nxdomain("10-3-0-1." + db),
      nxdomain("10-3-8-1." + db),
      nxdomain("db-1." + db),
      nxdomain("x.db-0." + db),
      nxdomain("db-0.east." + db),
      positive("_http._tcp." + db, Type::kSrv,
               {"0 100 8080 db-0." + db, "0 100 8080 10-3-0-2." + db},
               {"db-0." + db + " 5 IN A 10.3.0.1", "db-0." + db + " 5 IN AAAA fd00:10:3::1",
                "10-3-0-2." + db + " 5 IN A 10.3.0.2"}),
      nxdomain("empty.data.svc.cluster.local."),
      nxdomain("empty.data.svc.cluster.local.", Type::kAaaa),
      nxdomain("_http._tcp.empty.data.svc.cluster.local.", Type::kSrv),
      positive("ending.data.svc.cluster.local.", Type::kA, {"10.3.0.9"}),
      positive("last.ending.data.svc.cluster.local.", Type::kA, {"10.3.0.9"}),
  })));
}

TEST_CASE("cluster.local: ExternalName") {
  const std::string alias = "alias.ext.svc.cluster.local.";
  const std::string to_web = alias + " 5 IN CNAME web.default.svc.cluster.local.";
  const std::string web = "web.default.svc.cluster.local.";
  const std::string gone = "gone.ext.svc.cluster.local.";
  const std::string twice = "twice.ext.svc.cluster.local.";
  const std::string out = "out.ext.svc.cluster.local.";
  check(GENERATE_COPY(values<Case>({
      {alias, Type::kA, Rcode::kNoError, {to_web, web + " 5 IN A 10.1.0.1"}, {}, {}},
      {alias, Type::kAaaa, Rcode::kNoError, {to_web, web + " 5 IN AAAA fd00:10:1::1"}, {}, {}},
      {alias, Type::kCname, Rcode::kNoError, {to_web}, {}, {}},
      {alias, Type::kTxt, Rcode::kNoError, {to_web}, {kSoa}, {}},
      {twice,
       Type::kA,
       Rcode::kNoError,
       {twice + " 5 IN CNAME " + alias, to_web, web + " 5 IN A 10.1.0.1"},
       {},
       {}},
      {gone,
       Type::kA,
       Rcode::kNxDomain,
       {gone + " 5 IN CNAME nothing.default.svc.cluster.local."},
       {kSoa},
       {}},
      {out, Type::kA, Rcode::kNoError, {out + " 5 IN CNAME www.example.org."}, {}, {}},
      {"loop.ext.svc.cluster.local.", Type::kA, Rcode::kServFail, {}, {}, {}},
      nxdomain("x." + alias),
  })));
}

TEST_CASE("clusterset.local") {
  const std::string zone = ".svc.clusterset.local.";
  const std::string db = "db.data" + zone;
  const std::string web = "web.default" + zone;
  check(GENERATE_COPY(values<Case>({
      positive(web, Type::kA, {"10.2.0.1"}),
      positive(web, Type::kAaaa, {"fd00:10:2::1"}),
      positive("_http._tcp." + web, Type::kSrv, {"0 100 80 " + web},
               {web + " 5 IN A 10.2.0.1", web + " 5 IN AAAA fd00:10:2::1"}),
      positive("cart.shop" + zone, Type::kA, {"10.2.0.7"}),
      nodata("cart.shop" + zone, Type::kAaaa),
      nxdomain("single.default" + zone),
      nxdomain("alias.ext" + zone),
      nxdomain("ext" + zone),
      nodata("shop" + zone),
      nodata("quiet" + zone),
      nodata("svc.clusterset.local."),
      positive(db, Type::kA, {"10.3.0.1", "10.3.0.2", "10.3.8.1"}),
      positive(db, Type::kAaaa, {"fd00:10:3::1"}),
      positive("db-0.east." + db, Type::kA, {"10.3.0.1"}),
      positive("db-0.east." + db, Type::kAaaa, {"fd00:10:3::1"}),
      positive("db-0.west." + db, Type::kA, {"10.3.8.1"}),
      nodata("db-0.west." + db, Type::kAaaa),
      positive("10-3-0-2.east." + db, Type::kA, {"10.3.0.2"}),
      nxdomain("10-3-8-2.west." + db),
      nxdomain("10-3-8-3.west." + db),
      nxdomain("db-0." + db),
      nodata("east." + db),
      nodata("west." + db, Type::kAny),
      nxdomain("north." + db),
      nodata("_tcp." + db),
      positive(
          "_http._tcp." + db, Type::kSrv,
          {"0 100 8080 db-0.east." + db, "0 100 8080 10-3-0-2.east." + db,
           "0 100 8080 db-0.west." + db},
          {"db-0.east." + db + " 5 IN A 10.3.0.1", "db-0.east." + db + " 5 IN AAAA fd00:10:3::1",
           "10-3-0-2.east." + db + " 5 IN A 10.3.0.2", "db-0.west." + db + " 5 IN A 10.3.8.1"}),
      positive("q-0.west.eu.queue.shop" + zone, Type::kA, {"10.3.9.1"}),
      nodata("west.eu.queue.shop" + zone),
      nodata("eu.queue.shop" + zone),
      nxdomain("west.queue.shop" + zone),
      nxdomain("empty.data" + zone),
      nodata("clusterset.local.", Type::kTxt),
      {"clusterset.local.", Type::kSoa, Rcode::kNoError, {kSetSoa}, {}, {}},
      positive("dns-version.clusterset.local.", Type::kTxt, {R"("1.0.0")"}),
      positive("ns.dns.clusterset.local.", Type::kA, {kGlue4}),
  })));
}

TEST_CASE("reverse names lead into cluster.local") {
  auto reverse = [](const std::string& ip) { return Name::reverse_of(*Ip::parse(ip)).text(); };
  auto soa = [](const std::string& owner) {
    return owner +
           " 2 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400 2";
  };
  check(GENERATE_COPY(values<Case>({
      positive(reverse("10.1.0.1"), Type::kPtr, {"web.default.svc.cluster.local."}),
      positive(reverse("fd00:10:1::1"), Type::kPtr, {"web.default.svc.cluster.local."}),
      positive(reverse("10.3.0.1"), Type::kPtr, {"db-0.db.data.svc.cluster.local."}),
      positive(reverse("10.3.0.2"), Type::kPtr, {"10-3-0-2.db.data.svc.cluster.local."}),
      {reverse("10.1.0.1"), Type::kA, Rcode::kNoError, {}, {soa("1.10.in-addr.arpa.")}, {}},
      {reverse("10.2.0.1"), Type::kPtr, Rcode::kNxDomain, {}, {soa("2.10.in-addr.arpa.")}, {}},
      {reverse("10.3.8.1"), Type::kPtr, Rcode::kNxDomain, {}, {soa("3.10.in-addr.arpa.")}, {}},
      {reverse("fd00:10:1::2"),
       Type::kPtr,
       Rcode::kNxDomain,
       {},
       {soa("0.1.0.0.0.0.d.f.ip6.arpa.")},
       {}},
      {"0.1.10.in-addr.arpa.", Type::kPtr, Rcode::kNoError, {}, {soa("1.10.in-addr.arpa.")}, {}},
      {"x.0.0.1.10.in-addr.arpa.",
       Type::kPtr,
       Rcode::kNxDomain,
       {},
       {soa("1.10.in-addr.arpa.")},
       {}},
      {"256.0.1.10.in-addr.arpa.",
       Type::kPtr,
       Rcode::kNxDomain,
       {},
       {soa("1.10.in-addr.arpa.")},
       {}},
      {"01.0.1.10.in-addr.arpa.",
       Type::kPtr,
       Rcode::kNxDomain,
       {},
       {soa("1.10.in-addr.arpa.")},
       {}},
      {"10.in-addr.arpa.", Type::kPtr, Rcode::kRefused, {}, {}, {}},
      {"in-addr.arpa.", Type::kPtr, Rcode::kRefused, {}, {}, {}},
      {reverse("192.0.2.1"), Type::kPtr, Rcode::kRefused, {}, {}, {}},
      {reverse("2001:db8::1"), Type::kPtr, Rcode::kRefused, {}, {}, {}},
  })));
}

TEST_CASE("nothing is denied before the services are known") {
  auto zones = testing::zones(false);
  for (std::string name : {"web.default.svc.cluster.local.", "clusterset.local.",
                           "1.0.1.10.in-addr.arpa.", "x.y.svc.clusterset.local."}) {
    CAPTURE(name);
    testing::Asked plain = ask(*zones, query(name, Type::kA));
    REQUIRE(plain.message.rcode == Rcode::kServFail);
    REQUIRE(!plain.message.edns.has_value());
    Message with_edns = query(name, Type::kA);
    with_edns.edns = Edns{};
    testing::Asked extended = ask(*zones, with_edns);
    REQUIRE(extended.message.rcode == Rcode::kServFail);
    REQUIRE(extended.message.edns.has_value());
    REQUIRE(extended.message.edns->options ==
            std::vector<EdnsOption>{{kOptionExtendedError, std::string("\0\16", 2)}});
  }
  REQUIRE(ask(*zones, query("www.example.org.", Type::kA)).message.rcode == Rcode::kRefused);
}

}  // namespace tombolo::dns
