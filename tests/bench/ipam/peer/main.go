// The peers of the benchmark `ipam`, as libraries in one process, so without the start of a process
// per address: the allocator of host-local (containernetworking/plugins), which keeps one file per
// address, under a lock, and does not sync them; and go-ipam (metal-stack), in memory.
//
//	peer FOLDER COUNT
//
// Prints "allocate N", "release N", "go-ipam-allocate N" and "go-ipam-release N", per second.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) != 3 {
		must(fmt.Errorf("usage: peer FOLDER COUNT"))
	}
	count, err := strconv.Atoi(os.Args[2])
	must(err)
	_, subnet, err := net.ParseCIDR("10.0.0.0/12")
	must(err)
	ranges := allocator.RangeSet{{Subnet: types.IPNet(*subnet)}}
	must(ranges.Canonicalize())
	store, err := disk.New("bench", os.Args[1])
	must(err)
	defer store.Close()
	pool := allocator.NewIPAllocator(&ranges, store, 0)
	began := time.Now()
	for i := 0; i < count; i++ {
		_, err := pool.Get(fmt.Sprintf("%064x", i), "eth0", nil)
		must(err)
	}
	fmt.Printf("allocate %.0f\n", float64(count)/time.Since(began).Seconds())
	began = time.Now()
	for i := 0; i < count; i++ {
		must(pool.Release(fmt.Sprintf("%064x", i), "eth0"))
	}
	fmt.Printf("release %.0f\n", float64(count)/time.Since(began).Seconds())
	goIpam(subnet.String(), count)
}
