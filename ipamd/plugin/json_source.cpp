// Boost.JSON compiled into the plugin, which links no shared library.
#include <boost/json/src.hpp>
