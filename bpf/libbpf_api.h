// libbpf's own <bpf/bpf.h>, which our bpf/bpf.h would hide: the search goes on after the folder in
// which this file was found. Only for the files of this folder that call the kernel.
#pragma once

#include_next <bpf/bpf.h>
#include <bpf/libbpf.h>
