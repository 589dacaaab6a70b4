// Package faults makes disks fail under files, and compares the results of an aio.File with those
// of an os.File on an equal disk with the same faults.
package faults

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// Each child is a process that a test cannot run in itself.
func TestMain(m *testing.M) {
	aiotest.Main(m, aiofile.Count, map[string]func(args []string){
		"refuse": func(args []string) { must(aiotest.Refuse(args[0])) },
		"none":   func([]string) {},
		"useup":  func([]string) { useUp() },
	})
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
