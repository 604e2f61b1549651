// etcdserverpb.Watch: one stream carries many watches. What waits to be sent is bounded; when it is
// full the engine keeps the rest in its log (core/store/watch_hub.h).
#include <deque>

#include "core/store/etcd_errors.h"
#include "core/store/services.h"

namespace tombolo {
namespace {

constexpr std::size_t kQueueBytes = 4 * 1024 * 1024;
// Answers that wait for a client that does not read; with more, its requests are not read either.
constexpr std::size_t kQueueMessages = 1000;
// Watches that asked for it get no message larger than etcd's largest request and some.
constexpr std::size_t kFragmentBytes = etcd::kMaxRequestBytes + 512 * 1024;

std::size_t bytes_of(const WatchDelivery& delivery) {
  std::size_t bytes = 0;
  for (const WatchedChange& watched : delivery.changes) {
    bytes += watched.change->kv.key().size() + watched.change->kv.value().size() + 64;
    if (watched.previous)
      bytes += watched.previous->key().size() + watched.previous->value().size();
  }
  return bytes;
}

class WatchReactor;

// What the engine holds of a stream. Outlives the reactor; after detach() it swallows everything.
class StreamSink final : public WatchSink, public std::enable_shared_from_this<StreamSink> {
 public:
  StreamSink(Engine& engine, WatchReactor& reactor) : engine_(engine), reactor_(&reactor) {}

  bool deliver(WatchDelivery delivery) override;
  void created(std::int64_t watch_id, std::int64_t revision, Result<void> outcome) override;
  void cancelled(std::int64_t watch_id, std::int64_t revision) override;
  void compacted(std::int64_t watch_id, std::int64_t revision,
                 std::int64_t compact_revision) override;
  void progress(std::int64_t watch_id, std::int64_t revision) override;

  // The watches of this stream that were asked to be sent in fragments, in the order of their
  // creation requests.
  void expect_created(bool fragment);
  void send(pb::WatchResponse message);
  // Reads the client's next request, now or when there is room for its answer.
  void read_next();
  void written(bool ok);
  void detach();
  // No more is sent; true when no write is under way, so that the call may be finished.
  bool close();

 private:
  pb::WatchResponse header(std::int64_t watch_id, std::int64_t revision) const;
  void enqueue(pb::WatchResponse message, std::size_t bytes);
  void write_next();
  void split(const WatchDelivery& delivery, std::size_t bytes);

  Engine& engine_;
  std::mutex mutex_;
  WatchReactor* reactor_;
  std::deque<std::pair<pb::WatchResponse, std::size_t>> queue_;
  std::size_t queued_bytes_ = 0;
  std::deque<bool> expected_;
  std::map<std::int64_t, bool> fragments_;
  pb::WatchResponse writing_;
  bool busy_ = false;
  bool starved_ = false;
  bool reading_later_ = false;
  bool closed_ = false;
};

class WatchReactor final : public grpc::ServerBidiReactor<pb::WatchRequest, pb::WatchResponse> {
 public:
  WatchReactor(ServiceContext& context, grpc::CallbackServerContext& call)
      : context_(context), call_(call), sink_(std::make_shared<StreamSink>(context.engine, *this)) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      context_.engine.watch_close(sink_);
      if (sink_->close()) Finish(grpc::Status::OK);
      return;
    }
    // The next request is read when this one is handled: nothing piles up in between.
    auto next = [sink = sink_] { sink->read_next(); };
    if (request_.has_create_request())
      create(request_.create_request(), next);
    else if (request_.has_cancel_request())
      context_.engine.watch_cancel(sink_, request_.cancel_request().watch_id(), next);
    else if (request_.has_progress_request())
      context_.engine.watch_progress(sink_, next);
    else
      next();
  }
  void read() { StartRead(&request_); }
  void OnWriteDone(bool ok) override { sink_->written(ok); }
  void OnDone() override {
    sink_->detach();
    delete this;
  }

 private:
  void create(const pb::WatchCreateRequest& request, const Engine::Handled& next) {
    WatchSpec spec;
    // The smallest key there is; an empty one cannot be stored.
    spec.key = request.key().empty() ? std::string(1, '\0') : request.key();
    spec.range_end = request.range_end();
    if (auto allowed = context_.allow(call_, Access::kRead, spec.key, spec.range_end); !allowed) {
      pb::WatchResponse denied;
      context_.engine.fill(*denied.mutable_header());
      denied.set_watch_id(-1);
      denied.set_created(true);
      denied.set_canceled(true);
      denied.set_cancel_reason(
          fmt::format("rpc error: code = PermissionDenied desc = {}", allowed.error().what));
      sink_->send(std::move(denied));
      return next();
    }
    spec.start_revision = request.start_revision();
    spec.watch_id = request.watch_id();
    spec.previous = request.prev_kv();
    spec.progress_notify = request.progress_notify();
    for (int filter : request.filters()) {
      spec.no_put = spec.no_put || filter == pb::WatchCreateRequest::NOPUT;
      spec.no_delete = spec.no_delete || filter == pb::WatchCreateRequest::NODELETE;
    }
    sink_->expect_created(request.fragment());
    context_.engine.watch_create(sink_, std::move(spec), next);
  }

  ServiceContext& context_;
  grpc::CallbackServerContext& call_;
  std::shared_ptr<StreamSink> sink_;
  pb::WatchRequest request_;
};

pb::WatchResponse StreamSink::header(std::int64_t watch_id, std::int64_t revision) const {
  pb::WatchResponse message;
  engine_.fill(*message.mutable_header());
  message.mutable_header()->set_revision(revision);
  message.set_watch_id(watch_id);
  return message;
}

bool StreamSink::deliver(WatchDelivery delivery) {
  std::lock_guard lock(mutex_);
  if (closed_) return true;
  std::size_t bytes = bytes_of(delivery);
  if (!queue_.empty() && queued_bytes_ + bytes > kQueueBytes) {
    starved_ = true;
    return false;
  }
  split(delivery, bytes);
  return true;
}

void StreamSink::split(const WatchDelivery& delivery, std::size_t bytes) {
  auto fragment = fragments_.find(delivery.watch_id);
  bool may_split = fragment != fragments_.end() && fragment->second;
  std::size_t limit = may_split ? kFragmentBytes : SIZE_MAX;
  pb::WatchResponse message = header(delivery.watch_id, delivery.revision);
  std::size_t size = 0;
  for (const WatchedChange& watched : delivery.changes) {
    mvccpb::Event event;
    event.set_type(watched.change->deleted ? mvccpb::Event::DELETE : mvccpb::Event::PUT);
    *event.mutable_kv() = watched.change->kv;
    if (watched.previous) *event.mutable_prev_kv() = *watched.previous;
    std::size_t event_bytes = limit == SIZE_MAX ? 0 : event.ByteSizeLong();
    if (message.events_size() > 0 && size + event_bytes > limit) {
      message.set_fragment(true);
      enqueue(std::move(message), size);
      message = header(delivery.watch_id, delivery.revision);
      bytes -= std::min(bytes, size);
      size = 0;
    }
    size += event_bytes;
    *message.add_events() = std::move(event);
  }
  enqueue(std::move(message), bytes);
}

void StreamSink::expect_created(bool fragment) {
  std::lock_guard lock(mutex_);
  expected_.push_back(fragment);
}

void StreamSink::created(std::int64_t watch_id, std::int64_t revision, Result<void> outcome) {
  pb::WatchResponse message = header(watch_id, revision);
  message.set_created(true);
  std::lock_guard lock(mutex_);
  bool fragment = expected_.front();
  expected_.pop_front();
  if (outcome) {
    fragments_[watch_id] = fragment;
  } else {
    message.set_canceled(true);
    message.set_cancel_reason(outcome.error().what);
  }
  enqueue(std::move(message), 0);
}

void StreamSink::cancelled(std::int64_t watch_id, std::int64_t revision) {
  pb::WatchResponse message = header(watch_id, revision);
  message.set_canceled(true);
  send(std::move(message));
}

void StreamSink::compacted(std::int64_t watch_id, std::int64_t revision,
                           std::int64_t compact_revision) {
  pb::WatchResponse message = header(watch_id, revision);
  message.set_canceled(true);
  message.set_compact_revision(compact_revision);
  message.set_cancel_reason(std::string(etcd::kCompacted.text));
  send(std::move(message));
}

void StreamSink::progress(std::int64_t watch_id, std::int64_t revision) {
  send(header(watch_id, revision));
}

void StreamSink::send(pb::WatchResponse message) {
  std::lock_guard lock(mutex_);
  enqueue(std::move(message), 0);
}

void StreamSink::enqueue(pb::WatchResponse message, std::size_t bytes) {
  if (closed_) return;
  queue_.emplace_back(std::move(message), bytes);
  queued_bytes_ += bytes;
  if (!busy_) write_next();
}

void StreamSink::write_next() {
  busy_ = !queue_.empty();
  if (!busy_) return;
  writing_ = std::move(queue_.front().first);
  queued_bytes_ -= queue_.front().second;
  queue_.pop_front();
  reactor_->StartWrite(&writing_);
}

void StreamSink::written(bool ok) {
  std::lock_guard lock(mutex_);
  if (closed_) {
    busy_ = false;
    reactor_->Finish(grpc::Status::OK);
    return;
  }
  // A write that fails is followed by a read that fails, which closes.
  if (!ok) queue_.clear();
  write_next();
  if (reading_later_ && queue_.size() < kQueueMessages / 2) {
    reading_later_ = false;
    reactor_->read();
  }
  if (starved_ && queued_bytes_ < kQueueBytes / 2) {
    starved_ = false;
    engine_.watch_resume(shared_from_this());
  }
}

void StreamSink::read_next() {
  std::lock_guard lock(mutex_);
  if (reactor_ == nullptr) return;
  reading_later_ = queue_.size() >= kQueueMessages;
  if (!reading_later_) reactor_->read();
}

bool StreamSink::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  queue_.clear();
  return !busy_;
}

void StreamSink::detach() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  reactor_ = nullptr;
}

class WatchService final : public pb::Watch::CallbackService {
 public:
  explicit WatchService(ServiceContext& context) : context_(context) {}
  grpc::ServerBidiReactor<pb::WatchRequest, pb::WatchResponse>* Watch(
      grpc::CallbackServerContext* call) override {
    return new WatchReactor(context_, *call);
  }

 private:
  ServiceContext& context_;
};

}  // namespace

std::unique_ptr<grpc::Service> make_watch_service(ServiceContext& context) {
  return std::make_unique<WatchService>(context);
}

}  // namespace tombolo
