// A gRPC call with callbacks as an awaitable: the answer resumes the coroutine on its own executor,
// and cancelling the coroutine cancels the call. Private to core/store.
#pragma once

#include <grpcpp/grpcpp.h>

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

// `start(call, done)` begins the call; done(status) comes from a thread of gRPC, once.
template <class Call, class Start>
asio::awaitable<void> perform(std::shared_ptr<Call> call, Start start) {
  auto initiate = [call, start = std::move(start)](auto handler) mutable {
    using Handler = decltype(handler);
    auto held = std::make_shared<Handler>(std::move(handler));
    auto slot = asio::get_associated_cancellation_slot(*held);
    if (slot.is_connected())
      slot.assign([call](asio::cancellation_type) { call->context.TryCancel(); });
    auto executor = asio::prefer(asio::get_associated_executor(*held),
                                 asio::execution::outstanding_work.tracked);
    start(*call, [call, held, executor, slot](grpc::Status status) mutable {
      call->status = std::move(status);
      asio::post(executor, [held, slot]() mutable {
        slot.clear();
        std::move (*held)();
      });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>&, void()>(std::move(initiate),
                                                                        asio::use_awaitable);
}

}  // namespace tombolo
