// The stream, and how its messages become batches.
#include "core/store/etcd_watch.h"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <mutex>

#include "core/store/etcd_errors.h"
#include "core/task_group.h"

namespace tombolo {

namespace {
constexpr std::size_t kQueuedResponses = 16;
constexpr std::size_t kFragmentedEvents = 1'000'000;  // of one message in fragments
}  // namespace

// Lives until the last of: the call is over, the Watch object is gone.
class WatchStream final : public grpc::ClientBidiReactor<pb::WatchRequest, pb::WatchResponse>,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  // `arrived` is notified on the executor, as long as detach() was not called.
  WatchStream(std::shared_ptr<EtcdEndpoint> endpoint, asio::any_io_executor executor,
              std::weak_ptr<Signal> arrived)
      : endpoint_(std::move(endpoint)),
        executor_(std::move(executor)),
        arrived_(std::move(arrived)) {}

  void start(pb::WatchRequest request) {
    self_ = shared_from_this();
    context_.AddMetadata("hasleader", "true");
    endpoint_->watch->async()->Watch(&context_, this);
    {
      std::lock_guard lock(mutex_);
      send_locked(std::move(request));
    }
    StartRead(&reading_);
    // Keeps the call open while nothing is read or written.
    AddHold();
    StartCall();
  }

  void send(pb::WatchRequest request) {
    std::lock_guard lock(mutex_);
    if (!over_ && !closing_) send_locked(std::move(request));
  }

  // Control thread. Nothing when there is no response yet.
  std::optional<pb::WatchResponse> take() {
    std::lock_guard lock(mutex_);
    if (queue_.empty()) return std::nullopt;
    pb::WatchResponse response = std::move(queue_.front());
    queue_.pop_front();
    // After the end of the call a read must not be started.
    if (paused_ && !closing_) {
      paused_ = false;
      StartRead(&reading_);
    }
    return response;
  }
  // The end of the call, when it is over.
  std::optional<grpc::Status> over() {
    std::lock_guard lock(mutex_);
    return over_;
  }
  // Nobody waits any more: the executor is not touched again.
  void detach() {
    std::lock_guard lock(mutex_);
    detached_ = true;
  }
  void cancel() {
    {
      std::lock_guard lock(mutex_);
      if (std::exchange(closing_, true)) return;
    }
    context_.TryCancel();
    RemoveHold();
  }

  void OnReadDone(bool ok) override {
    std::lock_guard lock(mutex_);
    if (!ok) {
      // The server ended the stream: the hold has no use any more.
      if (!std::exchange(closing_, true)) RemoveHold();
      return;
    }
    queue_.push_back(std::move(reading_));
    reading_.Clear();
    paused_ = queue_.size() >= kQueuedResponses;
    if (!paused_) StartRead(&reading_);
    notify();
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok || unsent_.empty()) return;
    pb::WatchRequest next = std::move(unsent_.front());
    unsent_.pop_front();
    send_locked(std::move(next));
  }
  void OnDone(const grpc::Status& status) override {
    std::shared_ptr<WatchStream> self;  // freed after the lock
    std::lock_guard lock(mutex_);
    over_ = status;
    self = std::move(self_);
    notify();
  }

 private:
  void send_locked(pb::WatchRequest request) {
    // A progress request that waits already asks for the same.
    if (writing_) {
      if (unsent_.empty()) unsent_.push_back(std::move(request));
      return;
    }
    writing_ = true;
    sent_ = std::move(request);
    StartWrite(&sent_);
  }
  void notify() {
    if (detached_) return;
    asio::post(executor_, [arrived = arrived_] {
      if (auto signal = arrived.lock()) signal->notify_all();
    });
  }

  std::shared_ptr<EtcdEndpoint> endpoint_;
  asio::any_io_executor executor_;
  std::weak_ptr<Signal> arrived_;  // locked on the executor only
  std::shared_ptr<WatchStream> self_;
  grpc::ClientContext context_;
  std::mutex mutex_;
  pb::WatchResponse reading_;
  pb::WatchRequest sent_;
  bool writing_ = false;
  bool paused_ = false;
  bool closing_ = false;
  bool detached_ = false;
  std::deque<pb::WatchRequest> unsent_;
  std::deque<pb::WatchResponse> queue_;
  std::optional<grpc::Status> over_;
};

namespace {

WatchEvent event_of(mvccpb::Event&& from) {
  WatchEvent event;
  event.kind =
      from.type() == mvccpb::Event::DELETE ? WatchEvent::Kind::kDelete : WatchEvent::Kind::kPut;
  mvccpb::KeyValue& kv = *from.mutable_kv();
  event.kv = {std::move(*kv.mutable_key()),
              std::move(*kv.mutable_value()),
              kv.create_revision(),
              kv.mod_revision(),
              kv.version(),
              kv.lease()};
  return event;
}

Error cancelled_by(const pb::WatchResponse& response) {
  const std::string& reason = response.cancel_reason();
  if (response.compact_revision() != 0 || reason.ends_with(etcd::kCompacted.text))
    return etcd::kCompacted.error();
  if (reason.ends_with(etcd::kPermissionDenied.text)) return etcd::kPermissionDenied.error();
  return Error{Code::kUnavailable, "the store ended the watch: " + reason};
}

class EtcdWatch final : public Watch {
 public:
  EtcdWatch(std::shared_ptr<WatchStream> stream, std::shared_ptr<Signal> arrived,
            std::uint64_t cluster_id)
      : stream_(std::move(stream)), arrived_(std::move(arrived)), cluster_id_(cluster_id) {}
  ~EtcdWatch() override {
    stream_->detach();
    stream_->cancel();
  }

  // Waits until the store has confirmed.
  asio::awaitable<Result<void>> confirm() {
    CO_TRY(response, co_await receive());
    if (response.created()) co_return Result<void>{};
    co_return end(Error{Code::kInternal, "the store answered a watch with something else"});
  }

  asio::awaitable<Result<WatchBatch>> next() override {
    WatchBatch batch;
    while (true) {
      CO_TRY(response, co_await receive());
      for (mvccpb::Event& event : *response.mutable_events())
        batch.events.push_back(event_of(std::move(event)));
      if (batch.events.size() > kFragmentedEvents)
        co_return end(Error{Code::kResourceExhausted, "a message of the watch has no end"});
      if (response.fragment()) continue;
      // With events, the header may be ahead of what was delivered (etcd 3.4 and 3.5).
      batch.revision =
          batch.events.empty() ? response.header().revision() : batch.events.back().kv.mod_revision;
      co_return batch;
    }
  }

  asio::awaitable<Result<void>> request_progress() override {
    if (ended_) co_return std::unexpected(*ended_);
    pb::WatchRequest request;
    request.mutable_progress_request();
    stream_->send(std::move(request));
    co_return Result<void>{};
  }

  void cancel() override {
    if (!ended_) ended_ = Error{Code::kCancelled, "the watch was cancelled"};
    stream_->cancel();
    arrived_->notify_all();
  }
  void time_out() {
    if (!ended_) ended_ = Error{Code::kDeadlineExceeded, "the store did not confirm the watch"};
    stream_->cancel();
    arrived_->notify_all();
  }

 private:
  std::unexpected<Error> end(Error error) {
    if (!ended_) ended_ = std::move(error);
    stream_->cancel();
    return std::unexpected(*ended_);
  }

  asio::awaitable<Result<pb::WatchResponse>> receive() {
    while (!ended_) {
      if (auto response = stream_->take()) {
        if (cluster_id_ == 0) cluster_id_ = response->header().cluster_id();
        if (response->header().cluster_id() != cluster_id_)
          co_return end(Error{Code::kAborted, "cluster id changed"});
        if (response->canceled()) co_return end(cancelled_by(*response));
        co_return std::move(*response);
      }
      if (auto status = stream_->over()) {
        Error error = error_of(*status);
        // A stream that just ends is a broken connection for whoever watches.
        if (status->ok() || error.code == Code::kCancelled) error.code = Code::kUnavailable;
        if (status->ok()) error.what = "the store ended the stream";
        co_return end(std::move(error));
      }
      if (auto woken = co_await arrived_->wait(); !woken)
        co_return std::unexpected(std::move(woken).error());
    }
    co_return std::unexpected(*ended_);
  }

  std::shared_ptr<WatchStream> stream_;
  std::shared_ptr<Signal> arrived_;
  std::uint64_t cluster_id_;
  std::optional<Error> ended_;
};

// Tells a timer that may ring late whether anybody still waits.
struct Waiting {
  explicit Waiting(EtcdWatch& watch) : place(std::make_shared<EtcdWatch*>(&watch)) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() { *place = nullptr; }
  std::shared_ptr<EtcdWatch*> place;
};

}  // namespace

asio::awaitable<Result<std::unique_ptr<Watch>>> open_etcd_watch(
    std::shared_ptr<EtcdEndpoint> endpoint, WatchRequest request, asio::any_io_executor executor,
    std::chrono::milliseconds timeout) {
  pb::WatchRequest message;
  pb::WatchCreateRequest& create = *message.mutable_create_request();
  create.set_key(request.key);
  create.set_range_end(request.range_end);
  create.set_start_revision(request.start_revision);
  create.set_fragment(true);
  auto arrived = std::make_shared<Signal>(executor);
  auto stream = std::make_shared<WatchStream>(std::move(endpoint), executor, arrived);
  auto watch = std::make_unique<EtcdWatch>(stream, arrived, request.cluster_id);
  stream->start(std::move(message));
  Waiting waiting(*watch);
  asio::steady_timer timer(executor, timeout);
  timer.async_wait([place = waiting.place](const boost::system::error_code&) {
    if (*place != nullptr) (*place)->time_out();
  });
  Result<void> confirmed = co_await watch->confirm();
  *waiting.place = nullptr;
  timer.cancel();
  if (!confirmed) co_return std::unexpected(confirmed.error());
  std::unique_ptr<Watch> opened = std::move(watch);
  co_return opened;
}

}  // namespace tombolo
