// Roles of operators: pure text.
#include <array>

#include "app/pki/pki.h"

namespace tombolo::pki {
std::string_view to_string(Role role) {
  switch (role) {
    case Role::kNone:
      return "none";
    case Role::kViewer:
      return "viewer";
    case Role::kAdmin:
      return "admin";
  }
  return "none";
}

Result<Role> parse_role(std::string_view text) {
  for (Role role : std::array{Role::kViewer, Role::kAdmin})
    if (text == to_string(role)) return role;
  return fail(Code::kInvalidArgument, "role \"{}\" must be viewer or admin", text.substr(0, 64));
}

}  // namespace tombolo::pki
