// Who may call what, and what is recorded of it.
#include <google/protobuf/reflection.h>
#include <google/protobuf/text_format.h>
#include <grpc/grpc_security_constants.h>

#include <algorithm>

#include "app/admin/internal.h"
#include "app/pki/pki.h"
#include "core/metrics.h"

namespace tombolo::admin {
namespace {

constexpr std::size_t kLongestValue = 200;
constexpr std::size_t kLongestSummary = 2000;

std::string property(const grpc::AuthContext& authentication, const char* name) {
  auto values = authentication.FindPropertyValues(name);
  return values.size() == 1 ? std::string(values[0].data(), values[0].size()) : std::string();
}

std::string value_text(const google::protobuf::Message& message,
                       const google::protobuf::FieldDescriptor& field, int index) {
  using Field = google::protobuf::FieldDescriptor;
  const auto& reflection = *message.GetReflection();
  if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
    const auto& inner = index < 0 ? reflection.GetMessage(message, &field)
                                  : reflection.GetRepeatedMessage(message, &field, index);
    return "{" + summary(inner) + "}";
  }
  if (field.options().GetExtension(api::secret)) return "(secret)";
  if (field.cpp_type() == Field::CPPTYPE_STRING) {
    std::string text = index < 0 ? reflection.GetString(message, &field)
                                 : reflection.GetRepeatedString(message, &field, index);
    bool plain = text.size() <= kLongestValue && text.find('\n') == std::string::npos;
    return plain ? text : fmt::format("({} bytes)", text.size());
  }
  std::string text;
  google::protobuf::TextFormat::PrintFieldValueToString(message, &field, index, &text);
  return text;
}

}  // namespace

std::string summary(const google::protobuf::Message& request) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  const auto& reflection = *request.GetReflection();
  reflection.ListFields(request, &fields);
  std::string text;
  for (const auto* field : fields) {
    int count = field->is_repeated() ? reflection.FieldSize(request, field) : 1;
    for (int i = 0; i < count && text.size() < kLongestSummary; ++i)
      text += fmt::format("{}{}={}", text.empty() ? "" : " ", field->name(),
                          value_text(request, *field, field->is_repeated() ? i : -1));
  }
  if (text.size() > kLongestSummary) text = text.substr(0, kLongestSummary) + "…";
  return text;
}

api::Access access_of(std::string_view method) {
  std::string name = "tombolo.admin.v1." + std::string(method);
  std::ranges::replace(name, '/', '.');
  const auto* descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  ENSURE(descriptor != nullptr, "no method {}", name);
  return descriptor->options().GetExtension(api::access);
}

Caller caller_of(Listener listener, const grpc::AuthContext& authentication, std::string_view fleet,
                 std::string_view cluster) {
  if (listener == Listener::kAdminSocket) return {"local", Access::kAdmin};
  if (listener == Listener::kViewerSocket) return {"viewer-socket", Access::kViewer};
  auto certificate =
      pki::read_certificate(property(authentication, GRPC_X509_PEM_CERT_PROPERTY_NAME));
  if (!certificate) return {"unknown", Access::kNone};
  auto name = certificate->name();
  if (!name) return {certificate->subject, Access::kNone};
  bool ours = name->fleet == fleet && name->cluster == cluster;
  if (!ours || name->kind != pki::Kind::kOperator) return {name->str(), Access::kNone};
  switch (certificate->role) {
    case pki::Role::kAdmin:
      return {name->short_name(), Access::kAdmin};
    case pki::Role::kViewer:
      return {name->short_name(), Access::kViewer};
    case pki::Role::kNone:
      break;
  }
  return {name->short_name(), Access::kNone};
}

Result<void> Gate::permit(std::string_view method, api::Access access, const Caller& caller) {
  if (caller.access() == Access::kAdmin) return {};
  if (caller.access() == Access::kViewer && access == api::ACCESS_READ) return {};
  if (caller.access() == Access::kViewer)
    return fail(Code::kPermissionDenied, "{} is a viewer; {} needs an admin", caller.name(),
                method);
  return fail(Code::kPermissionDenied, "{} has no rights in the admin API of this cluster",
              caller.name());
}

Result<void> Gate::not_served(std::string_view method) {
  std::string_view api = method.substr(0, method.find('/'));
  std::string_view who = api == "FlowApi" || api == "PolicyApi"
                             ? "the role agent and the subsystem policy"
                             : "the role controller";
  return fail(Code::kFailedPrecondition, "this daemon does not serve {}; a daemon with {} does",
              api, who);
}

void Gate::count(const char* method, const Result<void>& result) {
  metrics::counter(
      "tombolo_admin_calls_total", "Calls of the admin API by method and result",
      {{"method", method}, {"code", result ? "ok" : std::string(to_string(result.error().code))}})
      .increment();
}

Gate::Record::Record(Gate& gate, const char* method, const Caller& caller,
                     const google::protobuf::Message& request)
    : audit_(*gate.audit_),
      line_{gate.clock_.wall_now(), caller.name(), method, summary(request),
            "ended by a shutdown, perhaps half done"} {}

Gate::Record::~Record() {
  audit_.append(std::move(line_));
}

void Gate::Record::result(const Result<void>& result) {
  line_.result = result ? "ok" : result.error().text();
}

Answer<api::ListAuditResponse> AuditHandlers::list(api::ListAuditRequest request, Caller) {
  constexpr std::uint32_t kMost = 10'000;
  if (request.limit() > kMost)
    co_return fail(Code::kInvalidArgument, "limit {} is over {}", request.limit(), kMost);
  auto newest = co_await log_.newest(request.limit() == 0 ? 100 : request.limit());
  CO_TRY(lines, std::move(newest));
  api::ListAuditResponse response;
  for (auto& line : lines) {
    auto* record = response.add_records();
    record->mutable_time()->set_seconds(
        std::chrono::floor<std::chrono::seconds>(line.time).time_since_epoch().count());
    record->set_who(std::move(line.who));
    record->set_method(std::move(line.method));
    record->set_request(std::move(line.request));
    record->set_result(std::move(line.result));
  }
  co_return response;
}

}  // namespace tombolo::admin
