// Package faults has disks fail under files, and demands of an aio.File the outcome that
// an os.File has on an equal disk with the same faults.
package faults

import (
	"testing"

	"github.com/go-aio/aio/internal/aiotest"
	"github.com/go-aio/aio/internal/aiotest/aiofile"
)

// Each child is a process that a test must not be in itself.
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
