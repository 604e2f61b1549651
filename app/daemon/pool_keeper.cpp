// The loop around judge_pools, and the copies for the store.
#include "app/daemon/pool_keeper.h"

#include <boost/algorithm/string/join.hpp>

#include "core/records/records.h"

namespace tombolo {
namespace {

MirrorOptions mirror_of(std::string name, std::string_view prefix) {
  MirrorOptions options;
  options.follow.name = std::move(name);
  options.follow.prefix = prefix;
  return options;
}

PublishOptions publish_options(std::string name, std::string_view prefix,
                               const PoolKeeperOptions& settings) {
  PublishOptions options;
  options.name = std::move(name);
  options.prefix = prefix;
  options.check_interval = settings.check_interval;
  return options;
}

Result<std::optional<Put>> encode_object(const PoolObject& object) {
  std::optional<Put> put(Put{records::pool_object_key(object), records::encode(object), 0});
  return put;
}

Result<std::optional<Put>> encode_info(const PodInfo& info) {
  std::optional<Put> put(Put{records::pod_info_key(info), records::encode(info), 0});
  return put;
}

template <class Row>
std::vector<Row> rows_of(const Table<Row>& table) {
  std::vector<Row> rows;
  for (const auto& [key, versioned] : table.rows()) rows.push_back(versioned.row);
  return rows;
}

}  // namespace

PoolKeeper::PoolKeeper(PoolKeeperOptions options, ControllerTables& tables, Uses uses,
                       Table<ReconcileStatus>::Writer status, RoleContext context)
    : options_(options),
      tables_(tables),
      uses_(std::move(uses)),
      status_(status),
      context_(context),
      changed_(context.tasks.executor()),
      written_(tables.pool_objects.track([this] { reconsider(); })),
      infos_(tables.pod_infos.track([this] { changed_.notify_all(); })),
      plan_(tables.plan_blocks.track([this] { reconsider(); })),
      claims_(tables.claims.track([this] { changed_.notify_all(); })),
      blocks_(tables.pool_blocks.track([this] { changed_.notify_all(); })),
      stored_pools_("stored_pools", tables.revisions),
      stored_reservations_("stored_reservations", tables.revisions),
      stored_(stored_pools_.track([this] { changed_.notify_all(); })),
      stored_too_(stored_reservations_.track([this] { changed_.notify_all(); })),
      pool_mirror_(mirror_of("pools", records::kPoolsPrefix), context.kv,
                   stored_pools_.take_writer("store"), records::decode_pool_object, context.tasks,
                   context.clock, context.rng, context.log),
      reservation_mirror_(mirror_of("reservations", records::kReservationsPrefix), context.kv,
                          stored_reservations_.take_writer("store"), records::decode_pool_object,
                          context.tasks, context.clock, context.rng, context.log),
      pools_(publish_options("pools", records::kPoolsPrefix, options_), tables.revisions, "pools",
             status, encode_object, context),
      reservations_(publish_options("reservations", records::kReservationsPrefix, options_),
                    tables.revisions, "pools", status, encode_object, context),
      pods_(publish_options("pod-info", records::kPodInfoPrefix, options_), tables.revisions,
            "pools", status, encode_info, context) {}

PoolKeeper::~PoolKeeper() = default;

void PoolKeeper::start(Settling& settling) {
  context_.tasks.spawn("mirror pools", pool_mirror_.run());
  context_.tasks.spawn("mirror reservations", reservation_mirror_.run());
  context_.tasks.spawn("pools", run());
  context_.tasks.spawn("pools that leave", look_again());
  pools_.start();
  reservations_.start();
  pods_.start();
  for (const ReconcilerView* view : {&pools_.view(), &reservations_.view(), &pods_.view()})
    settling.add(*view);
  settling.add(pool_mirror_.follower());
  settling.add(reservation_mirror_.follower());
  settling.add_derivation("pools", [this] {
    return !written_->pending() && !infos_->pending() && !plan_->pending() && (!due_ || !ready());
  });
}

void PoolKeeper::reconsider() {
  due_ = true;
  changed_.notify_all();
}

bool PoolKeeper::ready() const {
  return took_over_ && tables_.pool_objects.synced() && tables_.plan_blocks.synced();
}

// What an earlier controller left is in force until something else is.
void PoolKeeper::take_over() {
  for (PoolObject& object : rows_of(stored_pools_)) pools_.writer().upsert(std::move(object));
  for (PoolObject& object : rows_of(stored_reservations_))
    reservations_.writer().upsert(std::move(object));
  took_over_ = true;
}

asio::awaitable<void> PoolKeeper::run() {
  while (!context_.tasks.cancelled()) {
    written_->take();
    plan_->take();
    stored_->take();
    stored_too_->take();
    if (!took_over_ && stored_pools_.synced() && stored_reservations_.synced()) take_over();
    if (due_ && ready()) judge();
    if (took_over_) publish_pods();
    if (auto woken = co_await changed_.wait(); !woken) co_return;
  }
}

// A pool that leaves, or a refusal for what is in use, is looked at until it is over: nothing else
// would bring it up again.
asio::awaitable<void> PoolKeeper::look_again() {
  while (!context_.tasks.cancelled()) {
    if (auto slept = co_await context_.clock.sleep_for(options_.leave_after / 2); !slept) co_return;
    if (!leaving_since_.empty() || !told_.empty()) reconsider();
  }
}

void PoolKeeper::judge() {
  auto uses = uses_();
  if (!uses) return;
  due_ = false;
  claims_.reset();
  blocks_.reset();
  PoolFacts facts;
  facts.written = rows_of(tables_.pool_objects);
  facts.in_force = in_force();
  facts.uses = std::move(*uses);
  facts.plan = rows_of(tables_.plan_blocks);
  MonotonicTime now = context_.clock.now();
  for (const auto& [name, since] : leaving_since_)
    if (now - since >= options_.leave_after) facts.known_to_leave.insert(name);
  PoolJudgement judgement = judge_pools(facts);
  tell(judgement);
  std::vector<PoolObject> pools;
  std::vector<PoolObject> reservations;
  std::map<std::string, MonotonicTime> leaving;
  for (PoolObject& object : judgement.in_force) {
    if (object.leaving) {
      auto known = leaving_since_.find(object.name);
      leaving[object.name] = known == leaving_since_.end() ? now : known->second;
    }
    bool pool = object.kind == PoolObjectKind::kPool;
    (pool ? pools : reservations).push_back(std::move(object));
  }
  leaving_since_ = std::move(leaving);
  pools_.writer().replace_all(std::move(pools));
  reservations_.writer().replace_all(std::move(reservations));
  pools_.writer().mark_synced();
  reservations_.writer().mark_synced();
}

void PoolKeeper::tell(const PoolJudgement& judgement) {
  ReconcileStatus line;
  line.reconciler = "address pools";
  line.revision = tables_.pool_objects.revision();
  line.state = judgement.error.empty() ? ReconcileState::kDone : ReconcileState::kError;
  line.error = judgement.error;
  for (const std::string& note : judgement.notes)
    line.error += (line.error.empty() ? "" : "; ") + note;
  if (line.error != told_) {
    if (!judgement.error.empty())
      context_.log.error("pools stay as they were: {}", judgement.error);
    for (const std::string& note : judgement.notes) context_.log.info("{}", note);
    told_ = line.error;
  }
  status_.upsert(std::move(line));
}

void PoolKeeper::publish_pods() {
  bool wanted = !pools_.table().rows().empty();
  std::set<std::string> changed = infos_->take();
  if (wanted != pods_published_) {
    pods_.writer().replace_all(wanted ? rows_of(tables_.pod_infos) : std::vector<PodInfo>());
    pods_published_ = wanted;
  } else if (wanted) {
    for (const std::string& key : changed) {
      if (const PodInfo* info = tables_.pod_infos.find(key))
        pods_.writer().upsert(*info);
      else
        pods_.writer().erase(key);
    }
  }
  // From then on, what an earlier life told and nobody says any more is removed.
  if (wanted ? tables_.pod_infos.synced() : pools_.table().synced()) pods_.writer().mark_synced();
}

}  // namespace tombolo
