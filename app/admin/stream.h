// A streaming answer between the control thread, where a handler writes it, and gRPC's threads,
// which send it. One message is on its way at a time: a handler that writes waits for the one
// before. Private to app/admin; internal.h puts it together.
//
// The reactor belongs to gRPC and deletes itself in OnDone. The writer lives as long as somebody
// holds it and knows under its mutex whether the reactor is still there. gRPC's calls are made
// without the mutex, because gRPC may answer inside of them; `sending_` keeps the reactor alive
// meanwhile: Finish, without which there is no OnDone, waits for it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "app/admin/bridge.h"
#include "app/admin/handlers.h"

namespace tombolo::admin {

template <class Message>
class StreamWriter final : public Stream<Message>,
                           public std::enable_shared_from_this<StreamWriter<Message>> {
 public:
  explicit StreamWriter(std::shared_ptr<Bridge> bridge) : bridge_(std::move(bridge)) {}

  void attach(grpc::ServerWriteReactor<Message>* reactor) { reactor_ = reactor; }

  // Control thread.
  asio::awaitable<Result<void>> write(Message message) override {
    // Held here: a handler that is cancelled goes while gRPC still sends.
    auto self = this->shared_from_this();
    if (!sent_) sent_ = std::make_unique<Signal>(co_await asio::this_coro::executor);
    while (busy()) {
      auto woken = co_await sent_->wait();
      CO_TRY_OK(woken);
    }
    {
      std::lock_guard lock(mutex_);
      if (finished_ || broken_) co_return fail(Code::kCancelled, "the caller went away");
      sending_ = true;
      message_ = std::move(message);
    }
    reactor_->StartWrite(&message_);
    co_return Result<void>{};
  }

  // Any thread. What was written before is sent first.
  void finish(grpc::Status status) {
    {
      std::lock_guard lock(mutex_);
      if (finished_) return;
      if (sending_) {
        status_ = std::move(status);
        finished_ = true;
        return;
      }
      finished_ = true;
    }
    reactor_->Finish(std::move(status));
  }

  // gRPC's thread.
  void written(bool ok) {
    std::optional<grpc::Status> status;
    {
      std::lock_guard lock(mutex_);
      sending_ = false;
      broken_ = broken_ || !ok;
      status = std::exchange(status_, std::nullopt);
    }
    if (status) reactor_->Finish(std::move(*status));
    bridge_->post([self = this->shared_from_this()] {
      if (self->sent_) self->sent_->notify_all();
    });
  }

 private:
  bool busy() const {
    std::lock_guard lock(mutex_);
    return sending_ && !finished_;
  }

  std::shared_ptr<Bridge> bridge_;
  grpc::ServerWriteReactor<Message>* reactor_ = nullptr;
  std::unique_ptr<Signal> sent_;  // control thread
  Message message_;               // gRPC's while `sending_`
  mutable std::mutex mutex_;
  bool sending_ = false;
  bool broken_ = false;
  bool finished_ = false;
  std::optional<grpc::Status> status_;  // to finish with when the write is over
};

template <class Message>
class StreamReactor final : public grpc::ServerWriteReactor<Message> {
 public:
  StreamReactor(std::shared_ptr<Bridge> bridge, std::shared_ptr<StreamWriter<Message>> writer)
      : bridge_(std::move(bridge)), writer_(std::move(writer)) {
    writer_->attach(this);
  }
  // Before the reactor is given to gRPC.
  void cancel_with(std::shared_ptr<Bridge::Call> call) { call_ = std::move(call); }

 private:
  void OnWriteDone(bool ok) override { writer_->written(ok); }
  void OnCancel() override { bridge_->cancel(call_); }
  void OnDone() override { delete this; }

  std::shared_ptr<Bridge> bridge_;
  std::shared_ptr<StreamWriter<Message>> writer_;
  std::shared_ptr<Bridge::Call> call_;
};

}  // namespace tombolo::admin
