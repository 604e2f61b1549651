// How one RPC becomes a call of a handler. Private to app/admin: the Gate decides, audits and
// bridges; services.cpp maps each RPC to a handler's method in three lines.
#pragma once

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "app/admin/audit.h"
#include "app/admin/bridge.h"
#include "app/admin/handlers.h"
#include "app/admin/status.h"
#include "app/admin/stream.h"

namespace tombolo::admin {

enum class Listener { kAdminSocket, kViewerSocket, kTcp };

class AuditHandlers {
 public:
  explicit AuditHandlers(AuditLog& log) : log_(log) {}
  Answer<api::ListAuditResponse> list(api::ListAuditRequest request, Caller caller);

 private:
  AuditLog& log_;
};

// A request in one line for the audit log: set fields only, without secrets, long texts as their
// size.
std::string summary(const google::protobuf::Message& request);

// The access that the option of the method asks for; `method` as "StatusApi/Get".
api::Access access_of(std::string_view method);

// Who calls over this listener, with what rights.
Caller caller_of(Listener listener, const grpc::AuthContext& authentication, std::string_view fleet,
                 std::string_view cluster);

// Ends an RPC once; deletes itself when gRPC is done with it.
class Reactor final : public grpc::ServerUnaryReactor {
 public:
  explicit Reactor(std::shared_ptr<Bridge> bridge) : bridge_(std::move(bridge)) {}
  // Before the reactor is given to gRPC.
  void cancel_with(std::shared_ptr<Bridge::Call> call) { call_ = std::move(call); }

 private:
  void OnCancel() override {
    if (call_) bridge_->cancel(call_);
  }
  void OnDone() override { delete this; }

  std::shared_ptr<Bridge> bridge_;
  std::shared_ptr<Bridge::Call> call_;  // null: a caller who goes away does not stop it
};

// One per listener. Shared by the server and the coroutines that run through it.
class Gate : public std::enable_shared_from_this<Gate> {
 public:
  Gate(Listener listener, std::string fleet, std::string cluster, std::shared_ptr<Bridge> bridge,
       std::shared_ptr<AuditLog> audit, Clock& clock)
      : listener_(listener),
        fleet_(std::move(fleet)),
        cluster_(std::move(cluster)),
        bridge_(std::move(bridge)),
        audit_(std::move(audit)),
        audit_handlers_(*audit_),
        clock_(clock) {}

  Bridge& bridge() { return *bridge_; }
  AuditHandlers* audit_handlers() { return &audit_handlers_; }

  // gRPC's thread. `method` is a literal.
  template <class Request, class Response, class Handlers>
  grpc::ServerUnaryReactor* call(const char* method, grpc::CallbackServerContext* context,
                                 const Request* request, Response* response, Handlers* handlers,
                                 Answer<Response> (Handlers::*handler)(Request, Caller)) {
    auto unary = std::make_shared<Unary<Request, Response, Handlers>>(
        method, access_of(method), caller_of(listener_, *context->auth_context(), fleet_, cluster_),
        *request, handlers, handler);
    auto* reactor = new Reactor(bridge_);
    auto work = [gate = shared_from_this(), unary] { return run(gate, unary); };
    auto done = [unary, response, reactor, method](Result<void> result) {
      count(method, result);
      if (result) response->Swap(&unary->response);
      reactor->Finish(result ? grpc::Status::OK : to_status(result.error()));
    };
    auto running = bridge_->start(method, std::move(work), std::move(done));
    // What changes something runs to its end, so that its result is in the audit log.
    if (unary->access == api::ACCESS_READ) reactor->cancel_with(std::move(running));
    return reactor;
  }

  // The same for a method that answers with a stream.
  template <class Request, class Message, class Handlers>
  grpc::ServerWriteReactor<Message>* stream(
      const char* method, grpc::CallbackServerContext* context, const Request* request,
      Handlers* handlers,
      asio::awaitable<Result<void>> (Handlers::*handler)(Request, Caller, Stream<Message>&)) {
    auto access = access_of(method);
    // What changes something must run to its end; a stream ends when its reader goes away.
    ENSURE(access == api::ACCESS_READ, "{} is a stream and writes", method);
    auto writer = std::make_shared<StreamWriter<Message>>(bridge_);
    auto* reactor = new StreamReactor<Message>(bridge_, writer);
    auto streaming = std::make_shared<Streaming<Request, Message, Handlers>>(
        method, caller_of(listener_, *context->auth_context(), fleet_, cluster_), *request,
        handlers, handler, writer);
    auto work = [streaming] { return run_stream(streaming); };
    auto done = [writer, method](Result<void> result) {
      count(method, result);
      writer->finish(result ? grpc::Status::OK : to_status(result.error()));
    };
    reactor->cancel_with(
        bridge_->start(method, std::move(work), std::move(done), Bridge::Kind::kStream));
    return reactor;
  }

 private:
  template <class Request, class Message, class Handlers>
  struct Streaming {
    using Handler = asio::awaitable<Result<void>> (Handlers::*)(Request, Caller, Stream<Message>&);
    Streaming(const char* name, Caller who, Request what, Handlers* by, Handler with,
              std::shared_ptr<StreamWriter<Message>> to)
        : method(name),
          caller(std::move(who)),
          request(std::move(what)),
          handlers(by),
          handler(with),
          writer(std::move(to)) {}
    const char* method;
    Caller caller;
    Request request;
    Handlers* handlers;
    Handler handler;
    std::shared_ptr<StreamWriter<Message>> writer;
  };

  // Control thread.
  template <class Request, class Message, class Handlers>
  static asio::awaitable<Result<void>> run_stream(
      std::shared_ptr<Streaming<Request, Message, Handlers>> streaming) {
    CO_TRY_OK(permit(streaming->method, api::ACCESS_READ, streaming->caller));
    if (streaming->handlers == nullptr) co_return not_served(streaming->method);
    co_return co_await (streaming->handlers->*streaming->handler)(
        streaming->request, streaming->caller, *streaming->writer);
  }

  template <class Request, class Response, class Handlers>
  struct Unary {
    Unary(const char* name, api::Access needed, Caller who, Request what, Handlers* by,
          Answer<Response> (Handlers::*with)(Request, Caller))
        : method(name),
          access(needed),
          caller(std::move(who)),
          request(std::move(what)),
          handlers(by),
          handler(with) {}
    const char* method;
    api::Access access;
    Caller caller;
    Request request;
    Response response;
    Handlers* handlers;
    Answer<Response> (Handlers::*handler)(Request, Caller);
  };

  // Writes the audit line when it goes, so that a call that a shutdown ends is recorded as well.
  class Record {
   public:
    Record(Gate& gate, const char* method, const Caller& caller,
           const google::protobuf::Message& request);
    ~Record();
    Record(const Record&) = delete;
    Record& operator=(const Record&) = delete;
    void result(const Result<void>& result);

   private:
    AuditLog& audit_;
    AuditLine line_;
  };

  // Control thread.
  template <class Request, class Response, class Handlers>
  static asio::awaitable<Result<void>> run(
      std::shared_ptr<Gate> gate, std::shared_ptr<Unary<Request, Response, Handlers>> unary) {
    if (unary->access == api::ACCESS_READ) co_return co_await perform(gate, unary);
    Record record(*gate, unary->method, unary->caller, unary->request);
    auto result = co_await perform(gate, unary);
    record.result(result);
    co_return result;
  }

  template <class Request, class Response, class Handlers>
  static asio::awaitable<Result<void>> perform(
      std::shared_ptr<Gate> gate, std::shared_ptr<Unary<Request, Response, Handlers>> unary) {
    CO_TRY_OK(permit(unary->method, unary->access, unary->caller));
    if (unary->handlers == nullptr) co_return not_served(unary->method);
    if (unary->access == api::ACCESS_WRITE) {
      auto writable = co_await gate->audit_->ready();
      CO_TRY_OK(writable);
    }
    auto answer = co_await (unary->handlers->*unary->handler)(unary->request, unary->caller);
    CO_TRY(response, std::move(answer));
    unary->response = std::move(response);
    co_return Result<void>{};
  }

  static Result<void> permit(std::string_view method, api::Access access, const Caller& caller);
  static Result<void> not_served(std::string_view method);
  static void count(const char* method, const Result<void>& result);

  Listener listener_;
  std::string fleet_;
  std::string cluster_;
  std::shared_ptr<Bridge> bridge_;
  std::shared_ptr<AuditLog> audit_;
  AuditHandlers audit_handlers_;
  Clock& clock_;
};

// Every service of the API over one gate.
class Services {
 public:
  Services(Gate& gate, const AdminHandlers& handlers);
  ~Services();
  const std::vector<std::unique_ptr<grpc::Service>>& all() const { return services_; }

 private:
  std::vector<std::unique_ptr<grpc::Service>> services_;
};

// ---- sockets.cpp

// A unix socket under its final name with its final mode from its first moment: gRPC binds it in a
// folder of mode 0700 beside, then it is renamed.
class SocketPlace {
 public:
  // kAlreadyExists when somebody listens there; a socket that nobody serves is replaced.
  static Result<SocketPlace> prepare(std::string path, int mode);
  ~SocketPlace();
  SocketPlace(SocketPlace&& other) noexcept;
  SocketPlace& operator=(SocketPlace&&) = delete;
  // What gRPC binds: "unix:…".
  std::string bind_address() const;
  // After the server has started.
  Result<void> publish();

 private:
  SocketPlace(std::string path, int mode) : path_(std::move(path)), mode_(mode) {}
  std::string path_;
  int mode_;
  std::string folder_;
  bool published_ = false;
};

}  // namespace tombolo::admin
