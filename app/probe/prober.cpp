// The prober of a real machine: each question has its own sockets, so nothing is shared or kept.
#include "app/probe/attempt.h"

namespace tombolo {
namespace {

class RealProber final : public Prober {
 public:
  RealProber(asio::any_io_executor executor, Rng& rng, ProberOptions options)
      : executor_(std::move(executor)), rng_(rng), options_(options) {}

  asio::awaitable<Result<bool>> answers(Ip ip, Duration limit) override {
    auto attempt = std::make_shared<probe::Attempt>(executor_, ip, rng_.next(), options_);
    co_return co_await attempt->run(limit);
  }

 private:
  asio::any_io_executor executor_;
  Rng& rng_;
  ProberOptions options_;
};

}  // namespace

std::unique_ptr<Prober> make_prober(asio::any_io_executor executor, Rng& rng,
                                    ProberOptions options) {
  return std::make_unique<RealProber>(std::move(executor), rng, options);
}

}  // namespace tombolo
