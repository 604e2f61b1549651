// A gRPC call with callbacks as an awaitable: the answer resumes the coroutine on its own executor,
// and cancelling the coroutine cancels the call. Private to core/store.
#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>

namespace tombolo {

namespace asio = boost::asio;

// What must live until the call is over.
template <class Request, class Response>
struct EtcdCall {
  grpc::ClientContext context;
  Request request;
  Response response;
  grpc::Status status;
};

// Who waits for a call. Everything of the waiting side is let go on its own executor, because the
// io_context may be gone as soon as the coroutine has resumed.
template <class Handler>
struct EtcdWaiter {
  explicit EtcdWaiter(Handler taken)
      : handler(std::move(taken)),
        executor(asio::get_associated_executor(*handler)),
        work(asio::prefer(executor, asio::execution::outstanding_work.tracked)) {}
  void resume() {
    Handler waiting = std::move(*handler);
    handler.reset();
    asio::get_associated_cancellation_slot(waiting).clear();
    work.reset();
    std::move(waiting)();
  }
  std::optional<Handler> handler;
  asio::any_io_executor executor;
  std::optional<asio::any_io_executor> work;  // keeps the io_context running
};

// `start(call, done)` begins the call; done(status) comes from a thread of gRPC, once. The executor
// outlives the call: cancel and join what waits before it goes.
template <class Call, class Start>
asio::awaitable<void> perform(std::shared_ptr<Call> call, Start start) {
  auto initiate = [call, start = std::move(start)](auto handler) mutable {
    auto waiter = std::make_shared<EtcdWaiter<decltype(handler)>>(std::move(handler));
    auto slot = asio::get_associated_cancellation_slot(*waiter->handler);
    if (slot.is_connected())
      slot.assign([call](asio::cancellation_type) { call->context.TryCancel(); });
    start(*call, [call, waiter](grpc::Status status) {
      call->status = std::move(status);
      asio::post(waiter->executor, [waiter] { waiter->resume(); });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(std::move(initiate),
                                                                        asio::use_awaitable);
}

}  // namespace tombolo
