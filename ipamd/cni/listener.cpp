// Asio's unix sockets behind the Listener.
#include "ipamd/cni/listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>

#include "core/metrics.h"
#include "ipamd/cni/wire.h"

namespace tombolo::cni {
namespace {

using Protocol = asio::local::stream_protocol;
constexpr auto kAnswerHere = asio::as_tuple(asio::use_awaitable);

metrics::Counter refused_requests() {
  return metrics::counter("tombolo_cni_refused_requests_total",
                          "CNI connections that were closed without an operation");
}

// True when a process listens at the path.
bool somebody_listens(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool refused = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0 &&
                 (errno == ECONNREFUSED || errno == ENOENT);
  ::close(fd);
  return !refused;
}

}  // namespace

struct Listener::Sockets {
  explicit Sockets(const asio::any_io_executor& executor) : acceptor(executor) {}
  Protocol::acceptor acceptor;
};

struct Listener::Connection {
  explicit Connection(Protocol::socket accepted) : socket(std::move(accepted)) {}
  Protocol::socket socket;
  MonotonicTime deadline = MonotonicTime::max();
};

Listener::Listener(std::string path, Answerer answer, TaskGroup& tasks, Clock& clock, Logger log)
    : path_(std::move(path)),
      answer_(std::move(answer)),
      tasks_(tasks),
      clock_(clock),
      log_(std::move(log)),
      sockets_(std::make_unique<Sockets>(tasks.executor())) {}

Listener::~Listener() {
  if (sockets_->acceptor.is_open()) ::unlink(path_.c_str());
}

Result<void> Listener::open() {
  if (path_.empty() || path_.size() >= sizeof(sockaddr_un::sun_path))
    return fail(Code::kInvalidArgument, "'{}' is not a path of 1 to {} bytes", path_,
                sizeof(sockaddr_un::sun_path) - 1);
  struct stat there{};
  if (::lstat(path_.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode))
      return fail(Code::kAlreadyExists, "{} is there and is no socket", path_);
    if (somebody_listens(path_))
      return fail(Code::kAlreadyExists, "another process listens at {}", path_);
    if (::unlink(path_.c_str()) < 0) return fail_errno(errno, "remove the old socket {}", path_);
  }
  boost::system::error_code error;
  auto& acceptor = sockets_->acceptor;
  acceptor.open(Protocol(), error);
  if (!error) acceptor.bind(Protocol::endpoint(path_), error);
  // Before it listens, so that nobody else ever gets in.
  if (!error && ::chmod(path_.c_str(), S_IRUSR | S_IWUSR) < 0)
    error.assign(errno, boost::system::system_category());
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail_errno(error.value(), "listen at {}", path_);
  tasks_.spawn("cni accept", accept_loop());
  tasks_.spawn("cni deadlines", close_late_ones());
  return {};
}

asio::awaitable<void> Listener::accept_loop() {
  while (!tasks_.cancelled()) {
    auto [error, socket] = co_await sockets_->acceptor.async_accept(kAnswerHere);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      // Out of descriptors or memory: the queue of the kernel waits meanwhile.
      log_.warning("accept at {}: {}", path_, error.message());
      if (auto slept = co_await clock_.sleep_for(std::chrono::milliseconds(100)); !slept) co_return;
      continue;
    }
    std::uint64_t id = next_id_++;
    connections_.emplace(id, std::make_unique<Connection>(std::move(socket)));
    tasks_.spawn("cni request", serve(id));
  }
}

asio::awaitable<void> Listener::close_late_ones() {
  while (!tasks_.cancelled()) {
    if (auto slept = co_await clock_.sleep_for(std::chrono::seconds(1)); !slept) co_return;
    for (auto& [id, connection] : connections_) {
      if (connection->deadline > clock_.now()) continue;
      boost::system::error_code ignored;  // closing is all that is left to do
      connection->socket.close(ignored);
    }
  }
}

asio::awaitable<void> Listener::serve(std::uint64_t id) {
  auto done = co_await exchange(id);
  if (!done) {
    refused_requests().increment();
    log_.warning("request: {}", done.error().text());
  }
  connections_.erase(id);
}

asio::awaitable<Result<std::string>> Listener::receive(std::uint64_t id) {
  Connection& connection = *connections_.at(id);
  connection.deadline = clock_.now() + kReadTimeout;
  std::string header(kHeaderBytes, '\0');
  auto [header_error, header_size] =
      co_await asio::async_read(connection.socket, asio::buffer(header), kAnswerHere);
  if (header_error)
    co_return fail(Code::kUnavailable, "the header ends after {} bytes: {}", header_size,
                   header_error.message());
  CO_TRY(length, decode_header(header));
  std::string body(length, '\0');
  auto [body_error, body_size] =
      co_await asio::async_read(connection.socket, asio::buffer(body), kAnswerHere);
  if (body_error)
    co_return fail(Code::kUnavailable, "a frame of {} bytes ends after {}: {}", length, body_size,
                   body_error.message());
  connection.deadline = MonotonicTime::max();
  co_return body;
}

asio::awaitable<Result<void>> Listener::exchange(std::uint64_t id) {
  // Lives in the map until serve() erases it.
  Connection& connection = *connections_.at(id);
  Reply reply;
  if (connections_.size() > kMostConnections) {
    Failure failure{kTryLater, fmt::format("{} requests are under way", kMostConnections), ""};
    reply.body = encode_reply(std::unexpected(std::move(failure)), "1.1.0");
    refused_requests().increment();
  } else {
    CO_TRY(request, co_await receive(id));
    reply = co_await answer_(std::move(request));
  }
  std::string frame = encode_frame(reply.body);
  connection.deadline = clock_.now() + kReadTimeout;
  auto [write_error, written] =
      co_await asio::async_write(connection.socket, asio::buffer(frame), kAnswerHere);
  if (write_error && reply.not_taken) reply.not_taken();
  if (write_error)
    co_return fail(Code::kUnavailable, "the reply ends after {} bytes: {}", written,
                   write_error.message());
  if (!reply.not_taken) co_return Result<void>{};
  std::string byte(1, '\0');
  auto [error, size] =
      co_await asio::async_read(connection.socket, asio::buffer(byte), kAnswerHere);
  bool ended = error == asio::error::eof || error == asio::error::connection_reset;
  if (ended) reply.not_taken();
  co_return Result<void>{};
}

}  // namespace tombolo::cni
