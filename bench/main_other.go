//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: measures Linux kernel AIO; there is nothing to measure on this system")
	os.Exit(1)
}
