package main

import (
	"context"
	"fmt"
	"time"

	goipam "github.com/metal-stack/go-ipam"
)

// go-ipam's allocator with its storage in memory. It copies a prefix with all of its addresses for
// each change, so its time grows with the square of count too.
func goIpam(cidr string, count int) {
	ctx := context.Background()
	ipam := goipam.New(ctx)
	_, err := ipam.NewPrefix(ctx, cidr)
	must(err)
	addresses := make([]*goipam.IP, 0, count)
	began := time.Now()
	for i := 0; i < count; i++ {
		address, err := ipam.AcquireIP(ctx, cidr)
		must(err)
		addresses = append(addresses, address)
	}
	fmt.Printf("go-ipam-allocate %.0f\n", float64(count)/time.Since(began).Seconds())
	began = time.Now()
	for _, address := range addresses {
		_, err := ipam.ReleaseIP(ctx, address)
		must(err)
	}
	fmt.Printf("go-ipam-release %.0f\n", float64(count)/time.Since(began).Seconds())
}
