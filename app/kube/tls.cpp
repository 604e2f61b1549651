// Boost.Asio's TLS is compiled once, here, as core/asio.cpp compiles the rest.
#include <boost/asio/ssl/impl/src.hpp>
