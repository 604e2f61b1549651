// The records of the store against what services want: take what is free, give back what is not
// ours to hold, answer for what is ours.
#include <algorithm>

#include "ipamd/announce/announce.h"

namespace tombolo::announce {
namespace {

constexpr std::size_t kMostHeadStarts = 8;

LeaseKeeperOptions lease_options(const Settings& settings) {
  LeaseKeeperOptions options;
  options.name = "announcements";
  options.ttl = settings.lease_ttl;
  options.retry_cap = std::chrono::duration_cast<Duration>(settings.lease_ttl) / 6;
  return options;
}

}  // namespace

Announcer::Announcer(Settings settings, Table<Frontend>& frontends, Table<Node>& nodes,
                     Table<Announcement>& announcements, Link& link,
                     Table<Answered>::Writer answered, Table<ReconcileStatus>::Writer status,
                     Kv& kv, TaskGroup& tasks, Clock& clock, Rng& rng, Logger log)
    : settings_(std::move(settings)),
      frontends_(frontends),
      nodes_(nodes),
      announcements_(announcements),
      link_(link),
      rows_(answered),
      status_(status),
      kv_(kv),
      tasks_(tasks),
      clock_(clock),
      log_(log.with("part", "announcer")),
      lease_(lease_options(settings_), kv, tasks, clock, rng, log),
      frontends_changed_(frontends.track({})),
      nodes_changed_(nodes.track({})),
      records_changed_(announcements.track({})) {
  link_.on_other([this](const Ip& ip, const std::string& mac) { heard(ip, mac); });
}

void Announcer::start() {
  tasks_.spawn("announcements' lease", lease_.run());
  tasks_.spawn("announcer", run());
  tasks_.spawn("announcing link", link_.run());
}

// Looks every tick: leases end without an event.
asio::awaitable<void> Announcer::run() {
  while (!tasks_.cancelled()) {
    follow();
    answer();
    co_await take_and_give();
    if (auto slept = co_await clock_.sleep_for(settings_.tick); !slept) co_return;
  }
}

void Announcer::follow() {
  std::set<std::string> services = frontends_changed_->take();
  if (!nodes_changed_->take().empty())
    for (const auto& [key, row] : frontends_.rows())
      if (!row.row.load_balancer_ips.empty()) services.insert(key);
  for (const std::string& key : services) follow_service(key);
  for (const std::string& key : records_changed_->take()) {
    auto ip = Ip::parse(key);
    ENSURE(ip, "{}: the key of an announcement", key);
    const Announcement* record = announcements_.find(key);
    if (record != nullptr && record->node == settings_.node)
      held_.insert(*ip);
    else
      held_.erase(*ip);
    if (record != nullptr)
      free_since_.erase(*ip);
    else if (wanted_.contains(*ip))
      free_since_.try_emplace(*ip, clock_.now());
  }
}

void Announcer::follow_service(const std::string& key) {
  for (const Ip& ip : std::exchange(ips_of_[key], {})) {
    auto at = wanted_.find(ip);
    if (at == wanted_.end() || at->second.service != key) continue;
    wanted_.erase(at);
  }
  const Frontend* frontend = frontends_.find(key);
  if (frontend != nullptr)
    for (const Ip& ip : frontend->load_balancer_ips) {
      Wanted wanted{key, candidates(ip, *frontend, nodes_, settings_.cluster)};
      wanted_.insert_or_assign(ip, std::move(wanted));
      ips_of_[key].push_back(ip);
      if (announcements_.find(ip.str()) == nullptr) free_since_.try_emplace(ip, clock_.now());
    }
  if (ips_of_[key].empty()) ips_of_.erase(key);
  std::erase_if(free_since_, [&](const auto& entry) { return !wanted_.contains(entry.first); });
}

bool Announcer::may_hold(const Ip& ip) const {
  auto wanted = wanted_.find(ip);
  if (wanted == wanted_.end()) return false;
  return std::ranges::find(wanted->second.nodes, settings_.node) != wanted->second.nodes.end();
}

// Nobody else can hold what hangs on our lease before that ends, and it ends no earlier than a
// whole time to live after we last asked for it.
bool Announcer::proven(const Announcement& record) const {
  return record.lease != 0 && record.lease == lease_.lease() &&
         clock_.now() < lease_.kept_until() - settings_.tick;
}

void Announcer::answer() {
  std::erase_if(disputed_, [&](const auto& entry) {
    bool over = clock_.now() - entry.second > settings_.dispute;
    if (over) report(entry.first, "");
    return over;
  });
  std::map<Ip, bool> now;
  for (const Ip& ip : held_) {
    const Announcement* record = announcements_.find(ip.str());
    if (record == nullptr || !may_hold(ip)) continue;
    bool sure = proven(*record);
    if (sure) yielded_.erase(ip);
    if (!sure && (settings_.stop_without_store || yielded_.contains(ip))) continue;
    now.emplace(ip, sure);
  }
  MonotonicTime until =
      settings_.stop_without_store ? lease_.kept_until() - settings_.tick : MonotonicTime::max();
  if (now == answered_ && until == until_) return;
  for (const auto& [ip, sure] : now)
    if (!answered_.contains(ip)) log_.info("{}: announced by this node", ip.str());
  for (const auto& [ip, sure] : answered_) {
    if (now.contains(ip)) continue;
    report(ip, "");
    log_.info("{}: no longer announced by this node", ip.str());
  }
  tell_link(std::move(now), until);
}

void Announcer::tell_link(std::map<Ip, bool> now, MonotonicTime until) {
  std::vector<Answered> rows;
  for (const auto& [ip, sure] : now) rows.push_back({ip});
  rows_.replace_all(std::move(rows));
  answered_ = now;
  until_ = until;
  link_.answer_for(std::move(now), until);
}

asio::awaitable<void> Announcer::take_and_give() {
  // An earlier life's rest may go when it is known what is held.
  if (announcements_.synced() && frontends_.synced() && nodes_.synced()) rows_.mark_synced();
  if (lease_.lease() == 0 || !announcements_.synced() || !frontends_.synced() || !nodes_.synced())
    co_return;
  std::vector<Ip> held(held_.begin(), held_.end());
  for (const Ip& ip : held) {
    const Announcement* record = announcements_.find(ip.str());
    if (record == nullptr || record->node != settings_.node) continue;
    Announcement known = *record;
    Result<void> done;
    if (!may_hold(ip))
      done = co_await give_back(std::move(known));
    else if (known.lease != lease_.lease())  // of an earlier life, or of a lease that ended
      done = co_await take(ip, known.service, known.mod_revision, known.since_unix_s);
    if (tasks_.cancelled()) co_return;
    if (!done) log_.debug("{}: {}", ip.str(), done.error().text());
  }
  std::map<Ip, MonotonicTime> free = free_since_;
  for (const auto& [ip, since] : free) {
    auto wanted = wanted_.find(ip);
    if (wanted == wanted_.end() || announcements_.find(ip.str()) != nullptr) continue;
    const std::vector<std::string>& nodes = wanted->second.nodes;
    auto at = std::ranges::find(nodes, settings_.node);
    if (at == nodes.end()) continue;
    auto before =
        std::min<std::size_t>(static_cast<std::size_t>(at - nodes.begin()), kMostHeadStarts);
    if (clock_.now() < since + settings_.head_start * static_cast<int>(before)) continue;
    std::string service = wanted->second.service;
    auto done = co_await take(ip, std::move(service), 0, 0);
    if (tasks_.cancelled()) co_return;
    if (!done) log_.debug("{}: {}", ip.str(), done.error().text());
  }
}

// Of nobody (revision 0), or anew under the lease that holds now. That somebody was quicker is no
// error.
asio::awaitable<Result<void>> Announcer::take(Ip ip, std::string service,
                                              std::int64_t known_revision,
                                              std::int64_t since_unix_s) {
  Announcement mine;
  mine.ip = ip;
  mine.node = settings_.node;
  mine.service = std::move(service);
  mine.since_unix_s = since_unix_s;
  if (since_unix_s == 0)
    mine.since_unix_s =
        std::chrono::duration_cast<std::chrono::seconds>(clock_.wall_now().time_since_epoch())
            .count();
  TxnRequest request;
  Compare unchanged;
  unchanged.key = announcement_key(ip);
  unchanged.target = Compare::Target::kMod;
  unchanged.number = known_revision;
  request.compares.push_back(unchanged);
  request.then.emplace_back(Put{unchanged.key, encode(mine), lease_.lease()});
  CO_TRY_OK(co_await kv_.txn(std::move(request)));
  co_return Result<void>{};
}

asio::awaitable<Result<void>> Announcer::give_back(Announcement record) {
  TxnRequest request;
  Compare unchanged;
  unchanged.key = announcement_key(record.ip);
  unchanged.target = Compare::Target::kMod;
  unchanged.number = record.mod_revision;
  request.compares.push_back(unchanged);
  request.then.emplace_back(Delete{unchanged.key, ""});
  CO_TRY_OK(co_await kv_.txn(std::move(request)));
  co_return Result<void>{};
}

// While the store says that the address is ours, whoever else speaks as it is the intruder; when we
// cannot know, it is the one that took over.
void Announcer::heard(const Ip& ip, const std::string& mac) {
  auto at = answered_.find(ip);
  if (at == answered_.end()) return;
  if (at->second) {
    disputed_[ip] = clock_.now();
    report(ip, fmt::format("{} answers for it, too", mac));
    return;
  }
  log_.warning("{}: {} announces it while the store is away: left to it", ip.str(), mac);
  yielded_.insert(ip);
  std::map<Ip, bool> left = answered_;
  left.erase(ip);
  tell_link(std::move(left), until_);
}

void Announcer::report(const Ip& ip, const std::string& problem) {
  ReconcileStatus line{"announcements", ip.str(), ReconcileState::kError, 0, 1, problem};
  if (problem.empty()) {
    status_.erase(line.key());
    return;
  }
  if (status_.upsert(std::move(line))) log_.warning("{}: {}", ip.str(), problem);
}

}  // namespace tombolo::announce
