// One run of `tombolo`: what the global options say, how to reach the daemon, how to print an
// answer. Commands set an action while the line is parsed; main runs it afterwards. One thread.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include "app/admin/status.h"
#include "app/cli/render.h"
#include "app/pki/pki.h"
#include "core/clock.h"
#include "core/error.h"

namespace tombolo::cli {

struct Settings {
  std::string address;  // "unix:///run/tombolo/admin.sock", a path, or host:port
  pki::TlsFiles tls;    // for host:port
  Format format = Format::kTable;
  int timeout_s = 10;
};

class Session {
 public:
  Session() : clock_(make_system_clock()) {}

  Settings settings;
  std::function<Result<void>()> action;

  WallTime now() const { return clock_->wall_now(); }

  // `method` is a Stub's: call<api::StatusApi>(&api::StatusApi::Stub::Get, request). Errors are the
  // daemon's own, or kUnavailable with the address when it is not reached.
  template <class Api, class Request, class Response>
  Result<Response> call(grpc::Status (Api::Stub::*method)(grpc::ClientContext*, const Request&,
                                                          Response*),
                        const Request& request, int more_seconds = 0) {
    TRY(to, channel());
    auto stub = Api::NewStub(to);
    grpc::ClientContext context;
    set_deadline(context, settings.timeout_s + more_seconds);
    Response response;
    grpc::Status status = ((*stub).*method)(&context, request, &response);
    if (!status.ok()) return std::unexpected(explain(status));
    return response;
  }

  // Hands each message to `take` until the stream ends, which is no error, or `take` fails. With
  // `endless` there is no deadline.
  template <class Api, class Request, class Message>
  Result<void> follow(
      std::unique_ptr<grpc::ClientReader<Message>> (Api::Stub::*method)(grpc::ClientContext*,
                                                                        const Request&),
      const Request& request, bool endless,
      const std::type_identity_t<std::function<Result<void>(const Message&)>>& take) {
    TRY(to, channel());
    auto stub = Api::NewStub(to);
    grpc::ClientContext context;
    if (!endless) set_deadline(context, settings.timeout_s);
    auto reader = ((*stub).*method)(&context, request);
    Message message;
    while (reader->Read(&message)) {
      auto taken = take(message);
      if (taken) continue;
      context.TryCancel();
      static_cast<void>(reader->Finish());
      return taken;
    }
    grpc::Status status = reader->Finish();
    if (!status.ok()) return std::unexpected(explain(status));
    return {};
  }

  Result<void> print(const google::protobuf::Message& answer, const View& view) {
    return print(to_value(answer), view);
  }
  Result<void> print(const json::value& answer, const View& view);
  // Text as it is, whatever the format.
  static Result<void> write(std::string_view text);
  // One line on standard error: not an error, but something to act on.
  static void warn(std::string_view text);

 private:
  Result<std::shared_ptr<grpc::Channel>> channel();
  static void set_deadline(grpc::ClientContext& context, int seconds);
  Error explain(const grpc::Status& status) const;

  std::unique_ptr<Clock> clock_;
  std::shared_ptr<grpc::Channel> channel_;
};

// 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 the daemon is not reached, 6 too late.
int exit_code(const Error& error);

}  // namespace tombolo::cli
