// What an API server and a credential program answer, and the server's address in a kubeconfig:
// reading ends with a value or an error that names the place, and what was read is well-formed.
#include <cstddef>
#include <cstdint>

#include "app/kube/internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tombolo;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto server = kube::parse_server(text)) {
    ENSURE(!server->host.empty() && !server->port.empty());
    auto again = kube::parse_server((server->encrypted ? "https://" : "http://") +
                                    server->authority() + server->path);
    ENSURE(again.has_value() && again->host == server->host && again->port == server->port);
  }
  JsonLimits limits;
  limits.bytes = 16U << 10U;
  auto document = parse_json(text, limits);
  if (!document) return 0;
  DocumentPlace place{"fuzz", {}};
  kube::Access access;
  auto taken = kube::take_credential(Cursor(*document, place), access);
  if (taken) {
    ENSURE(!access.token.empty() || !access.certificate_pem.empty());
  } else {
    ENSURE(taken.error().what.starts_with("fuzz"));
  }
  kube::ListPages pages("fuzz", 100);
  auto more = pages.take(std::move(*document));
  if (more) {
    ENSURE(*more == !pages.next().empty());
    ENSURE(std::move(pages).list().at("items").as_array().size() <= 100);
  } else {
    ENSURE(more.error().what.starts_with("fuzz"));
  }
  return 0;
}
