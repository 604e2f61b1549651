// ServiceApi and EndpointApi: services as this cluster sees them, and why. Controller; control
// thread.
#pragma once

#include <memory>

#include "app/daemon/handlers/status.h"

namespace tombolo::controller {
class ControllerSync;
}

namespace tombolo {

// `sync` outlives the handlers.
std::unique_ptr<admin::ServiceHandlers> make_service_handlers(const DaemonView& view,
                                                              controller::ControllerSync& sync);
std::unique_ptr<admin::EndpointHandlers> make_endpoint_handlers(const DaemonView& view);

}  // namespace tombolo
